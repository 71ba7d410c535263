"""Which GPUs a node has, and what code they run. Pure.

Filters and rules both ask. The facts ``gpus`` and ``driver`` are what the plugin ``nodes`` tells.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from longshore.core.types import Confidence, GpuCode, NodeProfile, Requirement

MEMORY_LABEL = "nvidia.com/gpu.memory"
MAJOR_LABEL = "nvidia.com/gpu.compute.major"
MINOR_LABEL = "nvidia.com/gpu.compute.minor"
DRIVER_LABEL = "nvidia.com/cuda.driver-version.major"
"""What NVIDIA's GPU feature discovery labels nodes with."""

IN_A_CLUSTER = "kubernetes.io/arch"
"""A label of every node of Kubernetes, which says itself how many GPUs there are to ask for."""

_TARGET = re.compile(r"([0-9]+)([0-9])([af]?)")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or a slice of one; None is what nobody could read."""

    memory_mib: int | None = None
    capability: tuple[int, int] | None = None
    """Compute capability: 8.6 is (8, 6)."""
    uuid: str = ""
    numa_node: int | None = None
    name: str = ""


def gpus_of(node: NodeProfile) -> tuple[Gpu, ...]:
    """Return the GPUs that a node offers: as they were read on it, or else as its labels tell.

    What labels tell is of kinds alone; how many of them there are for containers, its engine tells,
    and of a node of a cluster its cluster, whatever was read there.
    """
    read, offered = node.facts.get("gpus"), node.node.gpus
    told = read.value if read is not None and isinstance(read.value, list) else []
    found = tuple(gpu for each in told if isinstance(each, Mapping) for gpu in _read(each))
    if read is not None and read.confidence is Confidence.EXACT and found:
        # A cluster gives out as many as it says, whatever is built in: none where nobody offers
        # them, several times as many where containers share them.
        in_a_cluster = IN_A_CLUSTER in node.node.labels
        return tuple(islice(cycle(found), offered)) if in_a_cluster else found
    return (found[:1] or (Gpu(),)) * offered


def driver_of(node: NodeProfile) -> int | None:
    """Return the major version of a node's NVIDIA driver; None where nobody could read it."""
    read = node.facts.get("driver")
    return _number(str(read.value).partition(".")[0]) if read is not None else None


def runs_on(code: GpuCode, capability: tuple[int, int]) -> bool:
    """Return whether a GPU runs code: machine code of its generation, or what its driver compiles.

    It is a set and no minimum: code for 8.0 and 9.0 does not run on 10.0.
    """
    machine = any(_same_generation(each, capability) for each in code.sass)
    return machine or any(_compiled(each, capability) for each in code.ptx)


def lacking(code: Iterable[GpuCode], capability: tuple[int, int]) -> tuple[GpuCode, ...]:
    """Return what of an image's code a GPU cannot run."""
    return tuple(each for each in code if not runs_on(each, capability))


def meets(affinity: Iterable[Iterable[Requirement]], gpu: Gpu) -> bool:
    """Return whether a GPU is one of those that a plan asks for by the labels of their nodes.

    Where a machine has several kinds, it is no matter of the node. What nobody could read of a GPU
    speaks against nothing.
    """
    terms = [tuple(term) for term in affinity]
    return not terms or any(all(_is_met(each, gpu) for each in term) for term in terms)


def target(text: str) -> tuple[int, int, str] | None:
    """Return major, minor and variant of ``90a``; None where it is no target."""
    found = _TARGET.fullmatch(text)
    return (int(found[1]), int(found[2]), found[3]) if found else None


def dotted(capability: tuple[int, int]) -> str:
    """Return ``8.6``."""
    return f"{capability[0]}.{capability[1]}"


def targets_in_words(code: GpuCode) -> str:
    """Return ``75 80 86, PTX 90``."""
    told = [" ".join(code.sass)] if code.sass else []
    return ", ".join([*told, *([f"PTX {' '.join(code.ptx)}"] if code.ptx else ["no PTX"])])


def _is_met(requirement: Requirement, gpu: Gpu) -> bool:
    major, minor = gpu.capability or (None, None)
    told = {MEMORY_LABEL: gpu.memory_mib, MAJOR_LABEL: major, MINOR_LABEL: minor}
    if requirement.label not in told:
        return True
    value = told[requirement.label]
    match requirement.operator, requirement.values:
        case "DoesNotExist", _:
            return value is None
        case ("Gt" | "Lt") as operator, (bound, *_) if value is not None:
            return value > int(bound) if operator == "Gt" else value < int(bound)
        case "In", values if value is not None:
            return str(value) in values
    return True


def _same_generation(text: str, capability: tuple[int, int]) -> bool:
    match target(text):
        case (major, minor, "a"):
            return capability == (major, minor)
        case (major, minor, _):
            return capability[0] == major and capability[1] >= minor
    return False


def _compiled(text: str, capability: tuple[int, int]) -> bool:
    match target(text):
        case (major, minor, ""):
            return capability >= (major, minor)
    # Of variants, drivers compile what they also run.
    return _same_generation(text, capability)


def _read(gpu: Mapping[str, object]) -> Sequence[Gpu]:
    """Return what one GPU offers: itself, or the slices that it was cut into (MIG)."""
    whole = Gpu(
        memory_mib=_number(gpu.get("memory_total_mib")),
        capability=_capability(gpu.get("compute_capability")),
        uuid=str(gpu.get("uuid") or ""),
        numa_node=_number(gpu.get("numa_node")),
        name=str(gpu.get("name") or ""),
    )
    mig = gpu.get("mig")
    slices = mig.get("instances") if isinstance(mig, Mapping) else None
    if not isinstance(slices, list) or not slices:
        return (whole,)
    return [
        Gpu(
            memory_mib=_number(each.get("memory_total_mib")),
            capability=whole.capability,
            uuid=str(each.get("uuid") or ""),
            numa_node=whole.numa_node,
            name=str(each.get("name") or whole.name),
        )
        for each in slices
        if isinstance(each, Mapping)
    ]


def _capability(told: object) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,2})\.([0-9])", told) if isinstance(told, str) else None
    return (int(found[1]), int(found[2])) if found else None


def _number(told: object) -> int | None:
    """Return what is a number, 0 and more; a NUMA node of -1 is unknown."""
    if isinstance(told, bool) or not isinstance(told, int | str):
        return None
    text = str(told)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None  # noqa: PLR2004 - no machine has more
