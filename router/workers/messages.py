"""What parent and workers tell each other: one JSON document a line."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter

from longshore.core.names import VersionKey
from longshore.core.routes import ModelRoute
from longshore.core.types import Value
from longshore.router.routed import RoutedVersion

MOST_LINE = 64 << 20
"""Bytes of a line; the routes of a model with some ten thousand versions."""


class Assignment(Value):
    """What a worker is started with; file descriptors are inherited."""

    number: int
    """Which of the workers it is, from 1 on."""
    listeners: tuple[int, ...]
    """Sockets to accept clients on."""
    link: int
    """Its end of the link to the parent."""
    counts: int
    """The memory that all workers count in."""
    column: int
    columns: int
    rest: str
    """Path of the socket on which the parent answers what is no prediction."""
    config: Path | None = None
    """The plugins.toml that the parent read."""
    options: Mapping[str, JsonValue] = {}
    """Those of the parent's command line."""


# --- From the parent --------------------------------------------------------------------------


class Update(Value):
    """Put a model into the table, or replace it."""

    kind: Literal["update"] = "update"
    route: ModelRoute
    rows: Mapping[str, int]
    """Where requests in flight on each replica are counted; by the replica's id."""


class Remove(Value):
    """Take a model out of the table."""

    kind: Literal["remove"] = "remove"
    name: str


class Reach(Value):
    """Say when all that came before is in the table."""

    kind: Literal["reach"] = "reach"
    generation: int
    """How many changes the table had by then."""


ToWorker = Annotated[Update | Remove | Reach, Field(discriminator="kind")]
to_worker: TypeAdapter[ToWorker] = TypeAdapter(ToWorker)


# --- From a worker ----------------------------------------------------------------------------


class Reached(Value):
    """All that came before the same word of the parent is in the table."""

    kind: Literal["reached"] = "reached"
    generation: int


class Listening(Value):
    """The worker takes connections."""

    kind: Literal["listening"] = "listening"


class Leaving(Value):
    """The worker was asked to stop, and takes connections no more."""

    kind: Literal["leaving"] = "leaving"


class Observation(Value):
    """All that a worker counted of one version since it came."""

    key: VersionKey
    created_at: datetime
    """Of the version; a number that was deleted and registered anew is another one."""
    numbers: Mapping[str, Any]
    shadow: Mapping[str, Any] | None = None
    """What was counted of its copies, if it was a shadow."""

    @classmethod
    def of(cls, version: RoutedVersion) -> "Observation":
        """Return what was counted of a version."""
        return cls(
            key=version.key,
            created_at=version.route.version.created_at,
            numbers=version.meter.numbers(),
            shadow=version.shadow_meter.numbers() if version.shadow_meter else None,
        )


class Observed(Value):
    """What changed since the last report; an empty one says that the worker is well."""

    kind: Literal["observed"] = "observed"
    versions: tuple[Observation, ...] = ()


ToParent = Annotated[Reached | Listening | Leaving | Observed, Field(discriminator="kind")]
to_parent: TypeAdapter[ToParent] = TypeAdapter(ToParent)


def line(message: Value) -> bytes:
    """Return a message as it travels."""
    return message.model_dump_json().encode() + b"\n"
