"""Keeps a part of each node's memory free, and prefers the nodes that have more of it left."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from longshore import HardwarePlan, NodeProfile, hookimpl


class Plugin:
    """Decides by the memory that would be left after one replica took what it asks for."""

    class Settings(BaseModel):
        """The ``settings`` of this plugin's table in plugins.toml."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        reserve: int = Field(gt=0)
        """Mebibytes of each node that no version may ask for."""

    def __init__(self, settings: Settings) -> None:
        self._reserve = settings.reserve

    @hookimpl
    def longshore_filter_node(self, plan: HardwarePlan, node: NodeProfile) -> Sequence[str]:
        """Object to a node that would have less left than the reserve."""
        left = _left(plan, node)
        if left >= self._reserve:
            return []
        return [f"{max(left, 0)} MiB of memory would be left, and {self._reserve} MiB stay free"]

    @hookimpl
    def longshore_score_node(self, plan: HardwarePlan, node: NodeProfile) -> float:
        """Score 50 where just the reserve would be left, and towards 100 the more there is."""
        left = _left(plan, node)
        return 100 * left / (left + self._reserve)


def _left(plan: HardwarePlan, node: NodeProfile) -> int:
    """Return the mebibytes left; a version that asks for nothing counts as taking none."""
    return node.node.memory_mib - (plan.memory_mib or 0)
