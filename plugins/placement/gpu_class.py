"""The plugin ``gpu_class``: nodes whose GPUs are large enough and run the image's code.

Of a node's GPUs, as many as a replica gets must do; one that nobody could read counts as one that
does, since only what is certain is a reason.
"""

from collections.abc import Sequence

from longshore.core.gpus import Gpu, dotted, driver_of, gpus_of, lacking, targets_in_words
from longshore.core.hookspecs import hookimpl
from longshore.core.quantities import memories
from longshore.core.types import HardwarePlan, NodeProfile

BEST = 100.0
UNKNOWN = 50.0
NOT_NEEDED = 0.0


@hookimpl(trylast=True)
def longshore_filter_node(plan: HardwarePlan, node: NodeProfile) -> Sequence[str]:
    """Object to GPUs that are too small, run none of the image's code, or have an old driver."""
    if not plan.gpu_count:
        return []
    gpus, reasons = gpus_of(node), []
    if len(gpus) < plan.gpu_count:
        # The plugin fit has said so.
        return []
    large = [each for each in gpus if _is_large_enough(plan, each)]
    running = [each for each in gpus if _runs(plan, each)]
    if len(large) < plan.gpu_count:
        sizes = sorted({each.memory_mib for each in gpus if each.memory_mib is not None})
        needed, *there = memories(plan.gpu_mem_floor_mib, *sizes)
        reasons.append(f"GPUs of {needed} are needed, its are of {', '.join(there)}")
    if len(running) < plan.gpu_count:
        kinds = sorted({each.capability for each in gpus if each.capability})
        code = "; ".join(f"{each.owner}: {targets_in_words(each)}" for each in plan.gpu_code)
        reasons.append(
            f"its GPUs are of compute capability {', '.join(dotted(each) for each in kinds)}, and "
            f"the image's code is for {code}"
        )
    if not reasons and len([each for each in large if each in running]) < plan.gpu_count:
        reasons.append("none of its GPUs is both large enough and of a kind that runs the code")
    driver = driver_of(node)
    if plan.min_driver and driver is not None and driver < plan.min_driver:
        reasons.append(f"its NVIDIA driver is {driver}, and {plan.min_driver} or newer is needed")
    return reasons


@hookimpl(trylast=True)
def longshore_score_node(plan: HardwarePlan, node: NodeProfile) -> float:
    """Prefer the smallest GPUs that will do, and nodes without any for what needs none."""
    gpus = gpus_of(node)
    if not plan.gpu_count:
        return NOT_NEEDED if gpus or node.node.gpus else BEST
    sizes = [
        each.memory_mib
        for each in gpus
        if each.memory_mib and _is_large_enough(plan, each) and _runs(plan, each)
    ]
    if not sizes or not plan.gpu_mem_floor_mib:
        return UNKNOWN
    return BEST * min(1.0, plan.gpu_mem_floor_mib / min(sizes))


def _is_large_enough(plan: HardwarePlan, gpu: Gpu) -> bool:
    return gpu.memory_mib is None or gpu.memory_mib >= (plan.gpu_mem_floor_mib or 0)


def _runs(plan: HardwarePlan, gpu: Gpu) -> bool:
    if not plan.gpu_code or gpu.capability is None:
        return True
    return len(lacking(plan.gpu_code, gpu.capability)) < len(plan.gpu_code)
