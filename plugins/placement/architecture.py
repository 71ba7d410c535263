"""The plugin ``architecture``: nodes whose processors can run the image."""

from collections.abc import Sequence

from longshore.core.cpus import falls_short, level_of
from longshore.core.hookspecs import hookimpl
from longshore.core.types import HardwarePlan, NodeProfile, VersionSpec


@hookimpl(trylast=True)
def longshore_filter_node(
    version: VersionSpec, plan: HardwarePlan, node: NodeProfile
) -> Sequence[str]:
    """Object to a node of another architecture, or of a lower level of x86-64."""
    has = node.node.architecture
    if plan.architectures and has not in plan.architectures:
        if version.architecture is not None:
            return [f"it is {has}, and {version.architecture} was asked for"]
        return [f"it is {has}, and the image is built for {', '.join(plan.architectures)}"]
    if has == "amd64" and falls_short(node, plan.cpu_level):
        built_for = f"amd64/v{plan.cpu_level}"
        return [f"it is amd64/v{level_of(node)}, and the image is built for {built_for}"]
    return []
