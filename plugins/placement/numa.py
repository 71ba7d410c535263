"""The plugin ``numa``: nodes where a replica's CPUs and GPUs can be close to each other."""

from longshore.core.gpus import gpus_of
from longshore.core.hookspecs import hookimpl
from longshore.core.numa import NumaNode, numa_nodes_of
from longshore.core.types import HardwarePlan, NodeProfile

ONE = 100.0
UNKNOWN = 50.0
SEVERAL = 0.0


@hookimpl(trylast=True)
def longshore_score_node(plan: HardwarePlan, node: NodeProfile) -> float | None:
    """Prefer nodes of which one NUMA node alone has what a replica asks for."""
    there = numa_nodes_of(node)
    if not there or not (plan.cpu_millicores or plan.memory_mib or plan.gpu_count):
        # Nothing to tell apart, and no reason for or against it.
        return UNKNOWN
    return ONE if any(_holds(plan, node, each) for each in there) else SEVERAL


def _holds(plan: HardwarePlan, node: NodeProfile, numa: NumaNode) -> bool:
    gpus = [each for each in gpus_of(node) if each.numa_node == numa.id]
    return (
        len(numa.cpus) * 1000 >= (plan.cpu_millicores or 0)
        and (numa.memory_mib is None or numa.memory_mib >= (plan.memory_mib or 0))
        and len(gpus) >= plan.gpu_count
    )
