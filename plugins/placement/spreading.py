"""The plugin ``spreading``: best where most room is left."""

from longshore.core.hookspecs import hookimpl
from longshore.core.types import HardwarePlan, NodeProfile


@hookimpl(trylast=True)
def longshore_score_node(plan: HardwarePlan, node: NodeProfile) -> float:
    """Prefer nodes where the scarcer of CPU and memory is least used up by one replica."""
    has = node.node
    cpu = (plan.cpu_millicores or 0) / max(has.cpu_millicores, 1)
    memory = (plan.memory_mib or 0) / max(has.memory_mib, 1)
    return 100 * (1 - min(1.0, max(cpu, memory)))
