"""All versions at a glance: what SQL tells of them, and what routers observe."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.types import Load, Model
from longshore.core.wake_times import WakeTimes

FRESH = 1.0
"""Seconds for which one look does for all who ask, so that many readers cost as much as one."""

EARLIER_FOR = 30.0
"""Seconds after which what was saved of loads is read again; it is saved as seldom."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is known of all versions; of thousands only a few are told of, so the rest is asked."""

    models: Sequence[Model]
    load: Callable[[VersionKey], Load]
    """What routers observe of a version, and when it was called last, be it before this start."""
    woken: Callable[[VersionKey], float | None]
    """Seconds that wakes of a version took at the 95th percentile; None where none is known."""


class Glances:
    """Looks when somebody asks.

    Args:
        registry: asked for what is registered.
        load: returns what routers observe of a version.
        clock: seconds that never jump.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[VersionKey], Load],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._now = load
        self._clock = clock
        self._wake_times = WakeTimes(registry)
        self._earlier: Mapping[VersionKey, Load] = {}
        self._earlier_until = self._until = float("-inf")
        self._models: Sequence[Model] = ()
        self._looking = asyncio.Lock()

    async def look(self) -> Glance:
        """Return what is known of all versions, at most a second old.

        Raises:
            Unavailable: SQL is away.
        """
        async with self._looking:
            if self._clock() >= self._until:
                await self._look()
                self._until = self._clock() + FRESH
        return Glance(self._models, self._load, self._wake_times.expected)

    async def _look(self) -> None:
        models = await self._registry.models()
        await self._wake_times.read(
            [record.version.key for model in models for record in model.versions]
        )
        if self._clock() >= self._earlier_until:
            self._earlier = await self._registry.loads()
            self._earlier_until = self._clock() + EARLIER_FOR
        self._models = models

    def _load(self, key: VersionKey) -> Load:
        now, earlier = self._now(key), self._earlier.get(key)
        if now.last_request_at or earlier is None:
            return now
        return now.model_copy(update={"last_request_at": earlier.last_request_at})
