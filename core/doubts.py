"""What is not known of a node, and would have to be to say that a version fits there. Pure.

Filters object by what is certain alone, so that what nobody could read counts as good enough. That
is right for placing; whoever is told that something fits should hear of it.
"""

from collections.abc import Iterator, Mapping, Sequence

from longshore.core.cpus import level_of
from longshore.core.gpus import IN_A_CLUSTER, Gpu, driver_of, gpus_of, lacking
from longshore.core.quantities import memory
from longshore.core.types import Confidence, HardwarePlan, ImageProfile, NodeProfile, VersionSpec

_NOT_COUNTED = "which GPUs it has is not known"


def doubts(
    spec: VersionSpec, image: ImageProfile, plan: HardwarePlan, node: NodeProfile
) -> tuple[str, ...]:
    """Return what is not known and matters, a sentence each.

    Args:
        spec: what the user asked for.
        image: what is known of the image.
        plan: the hardware that it gets.
        node: the node in question.
    """
    return (
        *_of_processors(image, plan, node),
        *_of_need(spec, image, plan, node),
        *_of_gpus(plan, node),
    )


def granted(node: NodeProfile, gpus: int) -> NodeProfile:
    """Return a node with so many GPUs, where nobody knows how many it has; others as they are."""
    if not gpus or _is_counted(node):
        return node
    return node.model_copy(update={"node": node.node.model_copy(update={"gpus": gpus})})


def _of_processors(image: ImageProfile, plan: HardwarePlan, node: NodeProfile) -> Iterator[str]:
    if not plan.architectures and not image.image.platforms:
        yield "the image does not say for which processors it is built"
    elif not plan.architectures:
        yield "the plan does not say which processors will do"
    elif node.node.architecture == "amd64" and plan.cpu_level > (level_of(node) or 1):
        # One that was read on the node itself is a reason of the filter.
        why = _why(node, "cpu_level")
        yield f"it may be below amd64/v{plan.cpu_level}, which the image is built for: {why}"


def _of_need(
    spec: VersionSpec, image: ImageProfile, plan: HardwarePlan, node: NodeProfile
) -> Iterator[str]:
    if plan.gpu_count or spec.resources.gpu is not None:
        return
    need = image.facts.get("gpu_need")
    if need is None or need.confidence is Confidence.UNKNOWN:
        yield "whether the image needs a GPU is not known, and it would be tried without"
    elif need.value == "required":
        has = "it has none" if _is_counted(node) else f"{_NOT_COUNTED}: {_why(node, 'gpus')}"
        yield f"the image seems to need a GPU, and would be tried without: {has}"


def _of_gpus(plan: HardwarePlan, node: NodeProfile) -> Iterator[str]:
    """Yield what is not known of GPUs, all that has one reason in one sentence."""
    told: dict[str, list[str]] = {}
    for what, why in _unknown_of_gpus(plan, node):
        told.setdefault(why, []).append(what)
    yield from (f"{'; '.join(each)}: {why}" for why, each in told.items())


def _unknown_of_gpus(plan: HardwarePlan, node: NodeProfile) -> Iterator[tuple[str, str]]:
    if not plan.gpu_count:
        return
    if not _is_counted(node):
        yield _NOT_COUNTED, _why(node, "gpus")
    elif sum(_does(plan, each) for each in gpus_of(node)) < plan.gpu_count:
        yield from _unknown_kinds(plan, gpus_of(node), node)
    if plan.min_driver and driver_of(node) is None:
        needed = f"{plan.min_driver} or newer is needed"
        yield f"its NVIDIA driver is not known, and {needed}", _why(node, "driver")


def _unknown_kinds(
    plan: HardwarePlan, gpus: Sequence[Gpu], node: NodeProfile
) -> Iterator[tuple[str, str]]:
    if plan.gpu_mem_floor_mib and any(each.memory_mib is None for each in gpus):
        needed = f"{memory(plan.gpu_mem_floor_mib)} of each are needed"
        why = _unread(node, "memory_total_mib")
        yield f"the memory of its GPUs is not known, and {needed}", why
    if plan.gpu_code and any(each.capability is None for each in gpus):
        why = _unread(node, "compute_capability")
        yield "whether its GPUs run the image's code is not known", why


def _does(plan: HardwarePlan, gpu: Gpu) -> bool:
    """Return whether it is known that a GPU will do."""
    floor, code = plan.gpu_mem_floor_mib, plan.gpu_code
    large = not floor or (gpu.memory_mib is not None and gpu.memory_mib >= floor)
    runs = not code or (
        gpu.capability is not None and len(lacking(code, gpu.capability)) < len(code)
    )
    return large and runs


def _is_counted(node: NodeProfile) -> bool:
    fact = node.facts.get("gpus")
    known = fact is not None and fact.confidence is not Confidence.UNKNOWN
    return known or node.node.gpus > 0 or IN_A_CLUSTER in node.node.labels


def _why(node: NodeProfile, name: str) -> str:
    fact = node.facts.get(name)
    return fact.source if fact is not None else "no plugin tells"


def _unread(node: NodeProfile, field: str) -> str:
    """Return why a field of its GPUs is not known."""
    fact = node.facts.get("gpus")
    for each in fact.value if fact is not None and isinstance(fact.value, list) else ():
        unread = each.get("unread") if isinstance(each, Mapping) else None
        if isinstance(unread, Mapping) and unread.get(field):
            return str(unread[field])
    return _why(node, "gpus")
