"""Which level of x86-64 a node has, as images of a variant ask for one. Pure."""

import re

from longshore.core.types import Confidence, NodeProfile

FEATURE = "feature.node.kubernetes.io/cpu-cpuid."
"""What Node Feature Discovery labels nodes with: one label for each feature that a CPU has."""


def level_of(node: NodeProfile) -> int | None:
    """Return the level that a node has at least; None where nobody could read its CPU."""
    read = node.facts.get("cpu_level")
    found = re.fullmatch(r"v([1-4])", str(read.value)) if read is not None else None
    return int(found[1]) if found else None


def falls_short(node: NodeProfile, level: int) -> bool:
    """Return whether a node is below a level for sure: labels leave some of what a CPU has out."""
    has = level_of(node)
    return (
        has is not None and has < level and node.facts["cpu_level"].confidence is Confidence.EXACT
    )
