"""What tests of the SQL registry store."""

from datetime import timedelta

import examples_of

from longshore.core.names import VersionKey
from longshore.core.types import Decision
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS = VersionKey("iris", "1")
MINUTE = timedelta(minutes=1)


def decision(score: int = 50) -> Decision:
    """Return one with what databases may stumble over."""
    return Decision(
        hook="longshore_score_node",
        plugin="spreading",
        outcome={"node": "here", "score": score},
        inputs={"cpu": None, "odd": "\0 \N{SNOWMAN}"},
        why="it fits",
    )


async def add(registry: SqlRegistry, *numbers: str, name: str = "iris") -> None:
    """Register versions of a model."""
    for number in numbers:
        assert await registry.add_version(examples_of.version(name, number), [])
