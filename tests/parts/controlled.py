"""A controller on a real database, with backends without an engine and a clock that a test sets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from examples_of import NOON
from parts.memory_backend import MemoryBackend

from longshore import VersionKey
from longshore.core.controller import Controller
from longshore.core.hooks import Hooks
from longshore.core.types import VersionStatus
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")


async def passes(controller: Controller, number: int) -> None:
    """Make passes, and let the work that each starts come to its end, if it needs no time."""
    for _ in range(number):
        await controller.converge_once()
        for _ in range(20):
            await asyncio.sleep(0)


class Clock:
    """A time of day that passes when a test says so."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class World:
    """A controller, what it goes by and what it tells."""

    registry: SqlRegistry
    backend: MemoryBackend
    elsewhere: MemoryBackend
    table: Table
    hooks: Hooks
    controller: Controller
    clock: Clock
    new_controller: Callable[[], Controller]

    async def status(self) -> VersionStatus:
        return (await self.registry.version(IRIS)).status

    async def passes(self, number: int = 2) -> None:
        """Make passes, and let the work that each starts come to its end."""
        await passes(self.controller, number)

    def endpoints(self) -> list[str]:
        """Return the replicas that routers send requests to."""
        routed = (each for each in self.table.versions() if each.key == IRIS)
        return [replica.endpoint.replica for each in routed for replica in each.replicas]
