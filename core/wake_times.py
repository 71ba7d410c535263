"""How long wakes took, and how long the next one should take, as SQL tells it."""

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.types import Wake

KEPT = 100
"""Newest wakes of a version by which the next one is foretold."""

FORETOLD_BY = 0.95
"""Of the wakes that are known, this share took no longer than what is expected of the next one."""

OVERLAP = timedelta(minutes=1)
"""What is read twice: the clocks of controllers may differ by so much."""


def percentile(seconds: Iterable[float], share: float) -> float | None:
    """Return what this share of the values does not exceed; None of no values."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def durations(wakes: Iterable[Wake]) -> list[float]:
    """Return how many seconds each wake took until readiness; those that never came to it, not."""
    return [
        max(0.0, (wake.ready_at - wake.asked_at).total_seconds()) for wake in wakes if wake.ready_at
    ]


class WakeTimes:
    """How long the wakes of all versions took; only what is new is read.

    Args:
        registry: where the ledger is kept.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._took: dict[VersionKey, dict[datetime, float]] = {}
        self._expected: dict[VersionKey, float | None] = {}
        """As computed from them; all versions are asked for in each pass."""
        self._newest: datetime | None = None
        """When the last of them came to readiness."""

    async def read(self, versions: Collection[VersionKey]) -> None:
        """Read what is new.

        Args:
            versions: those that there are.

        Raises:
            Unavailable: SQL is away.
        """
        since = self._newest - OVERLAP if self._newest else None
        fresh = await self._registry.wake_times(since, KEPT)
        known, self._expected = self._took, {}
        self._took = {key: known[key] for key in versions if key in known}
        for key, times in fresh.items():
            took = self._took.setdefault(key, {})
            took.update(times)
            while len(took) > KEPT:
                del took[next(iter(took))]
            ready = [asked + timedelta(seconds=seconds) for asked, seconds in times.items()]
            self._newest = max([*ready, *([self._newest] if self._newest else [])])

    def forget(self, key: VersionKey) -> None:
        """Forget a version, whose number may stand for another one from now on."""
        self._took.pop(key, None)
        self._expected.pop(key, None)

    def expected(self, key: VersionKey) -> float | None:
        """Return how many seconds the next wake of a version should take; None if unknown."""
        if key not in self._expected:
            self._expected[key] = percentile(self._took.get(key, {}).values(), FORETOLD_BY)
        return self._expected[key]


class FollowedWakes(WakeTimes):
    """Besides, which wakes are under way, where another process leads and keeps the ledger.

    Args:
        registry: where the ledger is kept.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._woken: Mapping[VersionKey, Wake] = {}

    async def read(self, versions: Collection[VersionKey]) -> None:
        """Read what is new.

        Args:
            versions: those that there are.

        Raises:
            Unavailable: SQL is away.
        """
        self._woken = await self._registry.open_wakes()
        await super().read(versions)

    def woken_at(self, key: VersionKey) -> datetime | None:
        """Return when the wake of a version was asked for that is under way; None if none is."""
        wake = self._woken.get(key)
        return wake.asked_at if wake else None
