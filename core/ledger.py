"""The wake ledger: what each wake took, phase by phase, and what is to be expected of the next.

A wake is opened in SQL by the wish that asks for it. What becomes of it is gathered here, in
memory, from what passes see anyway, and written when it is over; a controller that ends before
loses the phases of the wakes that were under way, and nothing else.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.types import Load, State, VersionStatus, Wake, WorkloadStatus

KEPT = 100
"""Newest wakes of a version by which the next one is foretold."""

FORETOLD_BY = 0.95
"""Of the wakes that are known, this share took no longer than what is expected of the next one."""

FIRST_BYTE_WITHIN = timedelta(seconds=60)
"""After readiness; a wake whose first byte has not come by then is written without."""

SAME_MOMENT = timedelta(seconds=1)
"""A request may have been held for a moment before the wake that it asked for was opened."""

WAKE_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histogram of wakes, in seconds; one more bucket takes the rest."""


def percentile(seconds: Iterable[float], share: float) -> float | None:
    """Return what this share of the values does not exceed; None of no values."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def durations(wakes: Iterable[Wake]) -> list[float]:
    """Return how many seconds each wake took until readiness; those that never came to it, not."""
    return [
        max(0.0, (wake.ready_at - wake.asked_at).total_seconds()) for wake in wakes if wake.ready_at
    ]


@dataclass(slots=True)
class _Known:
    """What is known of one version's wakes."""

    took: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    open: Wake | None = None
    buckets: list[int] = field(default_factory=lambda: [0] * (len(WAKE_BOUNDS) + 1))
    total: float = 0.0


class Ledger:
    """Follows the wakes that are under way.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[VersionKey, _Known] = {}

    async def begin(self, key: VersionKey) -> None:
        """Follow a version's newest wake, which was just opened; silent while it is followed.

        Raises:
            Unavailable: SQL is away.
        """
        known = self._known.get(key)
        if known and known.open:
            return
        wakes = await self._registry.wakes(key, KEPT)
        known = self._known.setdefault(key, _Known())
        known.took = deque(durations(wakes), maxlen=KEPT)
        if wakes and wakes[-1].ready_at is None:
            known.open = wakes[-1]

    def applied(self, key: VersionKey, now: datetime) -> None:
        """Note that a backend is asked to start a version."""
        known = self._known.get(key)
        if known and known.open and known.open.applied_at is None:
            known.open = known.open.model_copy(update={"applied_at": now})

    def expected(self, key: VersionKey) -> float | None:
        """Return how many seconds the next wake of a version should take; None if unknown."""
        known = self._known.get(key)
        return percentile(known.took, FORETOLD_BY) if known else None

    @property
    def under_way(self) -> bool:
        """Whether some version is on its way from sleep to readiness."""
        return any(each.open and not each.open.ready_at for each in self._known.values())

    def counted(self) -> Mapping[VersionKey, tuple[Sequence[int], float]]:
        """Return the histogram of each version's wakes since this start, and their sum."""
        return {key: (known.buckets, known.total) for key, known in self._known.items()}

    async def review(
        self,
        statuses: Mapping[VersionKey, VersionStatus],
        have: Mapping[VersionKey, WorkloadStatus],
        loads: Mapping[VersionKey, Load],
        now: datetime,
    ) -> None:
        """Gather what has come to pass, and write the wakes that are over.

        Args:
            statuses: what each version was found to be.
            have: what runs of it.
            loads: what routers observed.
            now: the time of day.
        """
        for key, known in list(self._known.items()):
            status = statuses.get(key)
            if status is None:
                del self._known[key]
            elif known.open:
                wake = seen(known.open, status, have.get(key), loads.get(key))
                over = _is_over(wake, status, now)
                if wake.ready_at and not known.open.ready_at:
                    self._count(known, *durations([wake]))
                known.open = wake
                if over and await self._written(wake):
                    known.open = None

    async def _written(self, wake: Wake) -> bool:
        try:
            await self._registry.save_wake(wake)
        except Unavailable:
            return False  # the next pass tries again
        return True

    @staticmethod
    def _count(known: _Known, seconds: float) -> None:
        known.took.append(seconds)
        known.total += seconds
        bucket = sum(bound < seconds for bound in WAKE_BOUNDS)
        known.buckets[bucket] += 1


def seen(wake: Wake, status: VersionStatus, have: WorkloadStatus | None, load: Load | None) -> Wake:
    """Return a wake with what has come to pass of it by now.

    Args:
        wake: as it was known.
        status: what its version was found to be.
        have: what runs of it.
        load: what routers observed of it.
    """
    found: dict[str, object] = {}
    replicas = have.replicas if have else ()
    for field_, of_replicas in (
        ("scheduled_at", [each.scheduled_at for each in replicas]),
        ("image_at", [each.image_at for each in replicas]),
        ("started_at", [each.started_at for each in replicas]),
    ):
        # Those of before may still be on their way out.
        moments = [each for each in of_replicas if each and each >= wake.asked_at - SAME_MOMENT]
        if moments and getattr(wake, field_) is None:
            # Kubernetes tells whole seconds, rounded down.
            found[field_] = max(min(moments), wake.asked_at)
    if status.state is State.READY and wake.ready_at is None:
        found["ready_at"] = max(status.since, wake.asked_at)
    holds = load.holds if load else None
    if holds and holds.since >= wake.asked_at - SAME_MOMENT:
        found |= {
            "held": holds.held,
            "longest_hold": holds.longest,
            "lost": holds.lost,
            "first_byte_at": holds.first_byte_at,
        }
    return wake.model_copy(update=found)


def _is_over(wake: Wake, status: VersionStatus, now: datetime) -> bool:
    if wake.ready_at is None:
        # It failed, or was put to sleep before it was ready.
        return status.state in {State.FAILED, State.ASLEEP}
    if wake.held:
        return wake.first_byte_at is not None or now - wake.ready_at > FIRST_BYTE_WITHIN
    # Routers tell twice a second what they held.
    return now - wake.ready_at > SAME_MOMENT
