"""What the controller tells routers, and what it hears back.

A router keeps a table in memory, made of these values, and answers requests from it alone.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from longshore.core.names import ModelName, VersionKey
from longshore.core.types import Endpoint, Load, State, TrafficRule, Value, Version


class VersionRoute(Value):
    """Where requests to one version go, or why they cannot."""

    version: Version
    endpoints: tuple[Endpoint, ...]
    """Ready replicas; requests are sent as long as there is one, whatever the state."""
    state: State
    reason: str = ""
    hint: str = ""
    retry_at: datetime | None = None
    """When a version that failed is tried again, where that is known."""
    coming: bool = False
    """Whether a replica may be expected where there is none, so that requests wait for it."""
    comes_back: bool = False
    """Whether it is collected, and can be brought back."""
    wake_seconds: float | None = None
    """How long a wake takes, by those that are known; None where none is."""
    woken_at: datetime | None = None
    """When the wake was asked for that is under way; None where none is."""


class ModelRoute(Value):
    """All routes of one model."""

    name: ModelName
    traffic: TrafficRule
    versions: tuple[VersionRoute, ...]
    """Oldest first."""


class RouteTable(Protocol):
    """The router's side of the table."""

    async def update(self, route: ModelRoute) -> None:
        """Put a model into the table, or replace it; requests in flight are not touched."""

    async def remove(self, name: str) -> None:
        """Take a model out of the table; if there is none, return silently."""

    async def drain(self, replicas: Collection[str], within: float) -> bool:
        """Wait until no request is in flight on these replicas, at most ``within`` seconds.

        The replicas should have left the table before.

        Returns:
            Whether all of them are quiet.
        """

    def loads(self) -> Sequence[Load]:
        """Return what was observed of each version in the table since it came."""

    def load(self, key: VersionKey) -> Load:
        """Return what was observed of one version; zeros where nothing was."""
