"""How long the next wake should take, where another process leads and keeps the ledger."""

from collections.abc import Collection
from datetime import datetime, timedelta

from longshore.core.ledger import FORETOLD_BY, KEPT, percentile
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry

OVERLAP = timedelta(minutes=1)
"""What is read twice: the clocks of controllers may differ by so much."""


class WakeTimes:
    """What SQL tells of the wakes of all versions; only what is new is read.

    Args:
        registry: where the ledger is kept.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._took: dict[VersionKey, dict[datetime, float]] = {}
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
        known = self._took
        self._took = {key: known[key] for key in versions if key in known}
        for key, times in fresh.items():
            took = self._took.setdefault(key, {})
            took.update(times)
            while len(took) > KEPT:
                del took[next(iter(took))]
            ready = [asked + timedelta(seconds=seconds) for asked, seconds in times.items()]
            self._newest = max([*ready, *([self._newest] if self._newest else [])])

    def expected(self, key: VersionKey) -> float | None:
        """Return how many seconds the next wake of a version should take; None if unknown."""
        return percentile(self._took.get(key, {}).values(), FORETOLD_BY)
