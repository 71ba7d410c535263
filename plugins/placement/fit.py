"""The plugin ``fit``: nodes that are large enough for one replica, and have the wished labels."""

from collections.abc import Sequence

from longshore.core.gpus import gpus_of
from longshore.core.hookspecs import hookimpl
from longshore.core.quantities import cores, memories
from longshore.core.types import HardwarePlan, NodeProfile


@hookimpl(trylast=True)
def longshore_filter_node(plan: HardwarePlan, node: NodeProfile) -> Sequence[str]:
    """Object to a node with less than one replica asks for, or without a wished label."""
    has = node.node
    gpus = has.gpus or len(gpus_of(node))
    reasons = []
    if (plan.cpu_millicores or 0) > has.cpu_millicores:
        asked, there = cores(plan.cpu_millicores or 0), cores(has.cpu_millicores)
        reasons.append(f"{asked} asked for, it has {there}")
    if (plan.memory_mib or 0) > has.memory_mib:
        asked, there = memories(plan.memory_mib, has.memory_mib)
        reasons.append(f"{asked} memory asked for, it has {there}")
    if plan.gpu_count > gpus:
        asked = f"{plan.gpu_count} GPU{'s' * (plan.gpu_count > 1)} asked for"
        reasons.append(f"{asked}, it has {gpus or 'none'}")
    for label, wished in plan.node_selector.items():
        labelled = has.labels.get(label)
        if labelled is None:
            reasons.append(f"it lacks the label {label}={wished}")
        elif labelled != wished:
            reasons.append(f"its label {label} is {labelled!r}, and {wished!r} was asked for")
    return reasons
