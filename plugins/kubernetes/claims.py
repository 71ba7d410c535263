"""GPUs as claims of dynamic resource allocation (DRA), instead of counted amounts. Pure.

What a plan asks of the labels of a node with GPUs is asked of each GPU itself here, by what
NVIDIA's driver publishes of it in ResourceSlices.
"""

from collections.abc import Iterator, Sequence

from longshore.core.gpus import DRIVER_LABEL, MAJOR_LABEL, MEMORY_LABEL, MINOR_LABEL
from longshore.core.types import Requirement, Workload
from longshore.plugins.kubernetes.kinds import Json

DRIVER = "gpu.nvidia.com"
"""What NVIDIA's driver calls itself, and the domain of what it publishes."""

CLASS = "gpu.nvidia.com"
"""The DeviceClass of whole GPUs, which is installed with that driver."""

CLAIM = "gpu"
"""What a pod calls its claim, and the claim its only request."""

CAPABILITY = "cudaComputeCapability"
VERSION = "driverVersion"
"""Attributes of a GPU; both are semantic versions."""

MEMORY = "memory"
"""Capacity of a GPU."""

Term = tuple[Requirement, ...]
"""Requirements that hold together."""

_TOLD_BY = {
    MAJOR_LABEL: (CAPABILITY, "major"),
    MINOR_LABEL: (CAPABILITY, "minor"),
    DRIVER_LABEL: (VERSION, "major"),
}
"""Which part of which attribute says the same as a label."""

_OPERATORS = frozenset({"Gt", "Lt", "In"})

_CAPACITY = f'device.capacity["{DRIVER}"]'
_ATTRIBUTES = f'device.attributes["{DRIVER}"]'


def claim_spec(workload: Workload) -> Json:
    """Return the spec of the template from which each pod of a version gets a claim of its own."""
    exactly: Json = {
        "deviceClassName": CLASS,
        "allocationMode": "ExactCount",
        "count": workload.gpu_count,
    }
    if found := list(_selectors(workload)):
        exactly["selectors"] = [{"cel": {"expression": each}} for each in found]
    return {"spec": {"devices": {"requests": [{"name": CLAIM, "exactly": exactly}]}}}


def without_gpu_labels(workload: Workload) -> Workload:
    """Return a workload that asks no label of its nodes for what its claim asks of GPUs."""
    kept = [
        tuple(each for each in term if not _is_of_gpus(each)) for term in _told(workload.affinity)
    ]
    # One that asks for nothing admits every node.
    affinity = tuple(dict.fromkeys(kept)) if all(kept) else ()
    return workload.model_copy(update={"affinity": affinity})


def _selectors(workload: Workload) -> Iterator[str]:
    """Yield expressions of CEL that must all be true of a GPU."""
    floor = workload.gpu_mem_floor_mib
    if floor:
        yield _selector([(_more_than_memory(floor - 1),)])
    # The plan says its floor in the labels, too.
    said = _more_than_memory(floor - 1) if floor else None
    alternatives = [
        tuple(each for each in term if _is_of_gpus(each) and each != said)
        for term in _told(workload.affinity)
    ] or [()]
    shared = [each for each in alternatives[0] if all(each in term for term in alternatives)]
    yield from (_selector([(each,)]) for each in shared)
    rest = [tuple(each for each in term if each not in shared) for term in alternatives]
    if all(rest):
        yield _selector(list(dict.fromkeys(rest)))


def _told(affinity: tuple[Term, ...]) -> list[Term]:
    """Return the alternatives but for that of nodes which nobody labelled: drivers tell theirs."""
    return [
        term
        for term in affinity
        if not any(each.label == MEMORY_LABEL and each.operator == "DoesNotExist" for each in term)
    ]


def _is_of_gpus(requirement: Requirement) -> bool:
    """Return whether a GPU can be asked for what is asked of a label; else the label is asked."""
    numbers = all(each.isascii() and each.isdigit() for each in requirement.values)
    if requirement.label == MEMORY_LABEL:
        return numbers and requirement.operator in {"Gt", "Lt"}
    return numbers and requirement.label in _TOLD_BY and requirement.operator in _OPERATORS


def _selector(terms: Sequence[Term]) -> str:
    """Return an expression that is true of a GPU which meets one of the terms.

    It is false, and no error, of one that does not tell: an error would keep a pod from all.
    """
    told = dict.fromkeys(_where(each) for term in terms for each in term)
    guards = [f'"{name}" in {domain}' for domain, name in told]
    alternatives = [" && ".join(_compared(each) for each in term) for term in terms]
    if len(terms) == 1:
        return " && ".join([*guards, *alternatives])
    return " && ".join([*guards, f"({' || '.join(f'({each})' for each in alternatives)})"])


def _where(requirement: Requirement) -> tuple[str, str]:
    """Return where a driver tells what a label does."""
    if requirement.label == MEMORY_LABEL:
        return _CAPACITY, MEMORY
    return _ATTRIBUTES, _TOLD_BY[requirement.label][0]


def _compared(requirement: Requirement) -> str:
    domain, name = _where(requirement)
    first = int(requirement.values[0])
    if requirement.label == MEMORY_LABEL:
        # Labels are whole mebibytes, and what drivers publish are bytes.
        least, sign = (first + 1, ">=") if requirement.operator == "Gt" else (first, "<")
        return f'{domain}.{name}.compareTo(quantity("{least}Mi")) {sign} 0'
    value = f"{domain}.{name}.{_TOLD_BY[requirement.label][1]}()"
    match requirement.operator:
        case "Gt":
            return f"{value} >= {first + 1}"
        case "Lt":
            return f"{value} < {first}"
    return f"{value} in [{', '.join(requirement.values)}]"


def _more_than_memory(mib: int) -> Requirement:
    return Requirement(label=MEMORY_LABEL, operator="Gt", values=(str(mib),))
