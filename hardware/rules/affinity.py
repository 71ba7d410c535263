"""Rules ``affinity`` and ``unverified-placement``: what of a plan is said to a cluster's scheduler.

The labels are those of Kubernetes, NVIDIA's GPU feature discovery and Node Feature Discovery.
``Gt`` compares integers, so that "at least N" is "greater than N-1".
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from longshore.core.cpus import FEATURE
from longshore.core.gpus import (
    DRIVER_LABEL,
    MAJOR_LABEL,
    MEMORY_LABEL,
    MINOR_LABEL,
    gpus_of,
    target,
)
from longshore.core.types import GpuCode, HardwarePlan, NodeProfile, Requirement, Toleration
from longshore.hardware.rules.known import Known, listed, ruled

ARCHITECTURE_LABEL = "kubernetes.io/arch"
GPU_TAINT = "nvidia.com/gpu"
FEATURES = ("AVX2", "AVX512F", "AVX512VNNI", "AVX512BF16", "AMXTILE", "AMXBF16", "AMXINT8")
"""Libraries choose at run time what to use of these, so each is a preference."""

_USE_FEATURES = frozenset(
    {
        *("torch", "pytorch", "onnxruntime", "tensorflow", "tensorflow-cpu", "openvino", "jax"),
        *("numpy", "scikit-learn", "xgboost", "lightgbm", "llama-cpp-python", "ctranslate2"),
    }
)


def affinity(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Say which nodes' labels will do.

    A node whose GPUs nobody labelled will do, too: else a cluster without feature discovery, or a
    node that just joined, would get nothing.
    """
    changes: dict[str, object] = {
        "affinity": terms(plan),
        "node_selector": dict(known.spec.node_selector),
    }
    if plan.gpu_count:
        changes["tolerations"] = (Toleration(key=GPU_TAINT),)
    elif "amd64" in plan.architectures and _uses_features(known):
        changes["preferred"] = tuple(
            Requirement(label=f"{FEATURE}{each}", operator="In", values=("true",))
            for each in FEATURES
        )
    plan = plan.model_copy(update=changes)
    unverified = [node.node.name for node in known.candidates if not _is_known(node)]
    if not unverified or not any(_asks_for_gpus(plan)):
        return plan
    why = (
        f"unverified placement: of the GPUs of {listed(unverified)} nothing is known "
        f"(no label {MEMORY_LABEL}, and none were read), and they are taken all the same"
    )
    return ruled(plan, "unverified-placement", "unknown", why, warnings=[why])


def terms(plan: HardwarePlan) -> tuple[tuple[Requirement, ...], ...]:
    """Return the alternatives of labels of which a node must have one."""
    base = (
        [Requirement(label=ARCHITECTURE_LABEL, operator="In", values=plan.architectures)]
        if plan.architectures
        else []
    )
    each_with_base = [[*base, *each] for each in _of_gpus(plan)] or [base]
    return tuple(tuple(each) for each in each_with_base if each)


def _is_known(node: NodeProfile) -> bool:
    return all(gpu.memory_mib is not None for gpu in gpus_of(node))


def _asks_for_gpus(plan: HardwarePlan) -> Iterator[bool]:
    yield from (each.label == MEMORY_LABEL for term in plan.affinity for each in term)


def _of_gpus(plan: HardwarePlan) -> Iterator[list[Requirement]]:
    """Yield the alternatives for GPUs; nothing where any GPU will do."""
    if not plan.gpu_count:
        return
    base = []
    if plan.gpu_mem_floor_mib:
        base.append(_more_than(MEMORY_LABEL, plan.gpu_mem_floor_mib - 1))
    if plan.min_driver:
        base.append(_more_than(DRIVER_LABEL, plan.min_driver - 1))
    kinds = list(_kinds(plan.gpu_code))
    if not base and not kinds:
        return
    for kind in kinds or [[]]:
        yield [*base[:1], *kind, *base[1:]] if plan.gpu_mem_floor_mib else [*kind, *base]
    yield [Requirement(label=MEMORY_LABEL, operator="DoesNotExist")]


def _kinds(code: Iterable[GpuCode]) -> Iterator[list[Requirement]]:
    """Yield the kinds of GPUs that run some package's code: whole generations together."""
    lowest, exact, onwards = _targets(code)
    if onwards:
        first, minor = min(onwards)
        lowest[first] = min(minor, lowest.get(first, minor))
        yield [_more_than(MAJOR_LABEL, first)]
        lowest = {major: each for major, each in lowest.items() if major <= first}
        exact = {major: each for major, each in exact.items() if major <= first}
    if whole := sorted(major for major, minor in lowest.items() if minor == 0):
        yield [_in(MAJOR_LABEL, whole)]
    for major, minor in sorted(lowest.items()):
        if minor:
            yield [_in(MAJOR_LABEL, [major]), _more_than(MINOR_LABEL, minor - 1)]
    for major, minors in sorted(exact.items()):
        if alone := sorted(each for each in minors if each < lowest.get(major, 10)):
            yield [_in(MAJOR_LABEL, [major]), _in(MINOR_LABEL, alone)]


def _targets(
    code: Iterable[GpuCode],
) -> tuple[dict[int, int], dict[int, set[int]], list[tuple[int, int]]]:
    """Return the lowest minor version of each generation, exact ones, and what drivers compile."""
    lowest: dict[int, int] = {}
    exact: defaultdict[int, set[int]] = defaultdict(set)
    onwards: list[tuple[int, int]] = []
    for each in code:
        told = [(target(text), False) for text in each.sass]
        told += [(target(text), True) for text in each.ptx]
        for found, is_ptx in told:
            match found:
                case (major, minor, "a"):
                    exact[major].add(minor)
                case (major, minor, "") if is_ptx:
                    onwards.append((major, minor))
                case (major, minor, _):
                    lowest[major] = min(minor, lowest.get(major, minor))
    return lowest, exact, onwards


def _in(label: str, values: Iterable[int]) -> Requirement:
    return Requirement(label=label, operator="In", values=tuple(str(each) for each in values))


def _more_than(label: str, number: int) -> Requirement:
    return Requirement(label=label, operator="Gt", values=(str(number),))


def _uses_features(known: Known) -> bool:
    fact = known.fact("packages")
    if fact is None or not isinstance(fact.value, list):
        return False
    return any(isinstance(each, dict) and each.get("name") in _USE_FEATURES for each in fact.value)
