"""The plugin ``packing``: best where least room is left, so that large nodes stay free.

It says the opposite of ``spreading``, and is enabled only where plugins.toml lists it.
"""

from longshore.core.hookspecs import hookimpl
from longshore.core.types import HardwarePlan, NodeProfile


@hookimpl(trylast=True)
def longshore_score_node(plan: HardwarePlan, node: NodeProfile) -> float:
    """Prefer nodes of which one replica, and its GPUs, take the largest part."""
    has = node.node
    cpu = (plan.cpu_millicores or 0) / max(has.cpu_millicores, 1)
    memory = (plan.memory_mib or 0) / max(has.memory_mib, 1)
    gpus = plan.gpu_count / has.gpus if has.gpus else 0.0
    return 100 * min(1.0, max(cpu, memory, gpus))
