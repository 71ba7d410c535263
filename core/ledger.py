"""The wake ledger: what each wake took, phase by phase, and what is to be expected of the next.

A wake is opened in SQL by the wish that asks for it, and ended there by the status or the wish that
ends it. Each pass reads which are open. What comes to pass of them is gathered here, from what
passes see anyway, and written as it comes; what was held during a wake is counted on after its end,
until nothing is held any more. A controller that ends before loses these counts, and nothing else.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.types import HoldsSeen, Load, State, VersionStatus, Wake, WorkloadStatus
from longshore.core.wake_times import WakeTimes, durations

FIRST_BYTE_WITHIN = timedelta(seconds=60)
"""After its end; a wake whose first byte has not come by then is written without."""

COUNTED_WITHIN = timedelta(minutes=5)
"""After its end; where requests wait for free slots without a break, they are counted so long."""

TOLD = timedelta(seconds=2)
"""By then every process has told what it held; it does so once a second."""

SAME_MOMENT = timedelta(seconds=1)
"""By so much the clocks of processes may differ, or what they tell may be late."""

WAKE_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histogram of wakes, in seconds; one more bucket takes the rest."""

_PHASES = (
    "applied_at",
    "scheduled_at",
    "image_at",
    "started_at",
    "ready_at",
    "first_byte_at",
)
"""Written as they come."""


@dataclass(slots=True)
class _Followed:
    """A wake that is under way, or whose counts are."""

    wake: Wake
    """What is known of it."""
    written: Wake
    """What SQL has of it."""
    held_since: datetime | None = None
    """When the first of those came that were held for it, by the clock of a router."""
    done: bool = False
    """Whether nothing more is gathered of it, and it is only to be written."""

    @property
    def over_at(self) -> datetime | None:
        """When it came to readiness, or to another end; None while it is under way."""
        return self.wake.ready_at or self.wake.ended_at

    @property
    def has_news(self) -> bool:
        """Whether a phase was passed that SQL does not know of."""
        return any(getattr(self.wake, each) != getattr(self.written, each) for each in _PHASES)

    def had(self, holds: HoldsSeen) -> bool:
        """Return whether requests were held for it, and not for another one before or after."""
        if holds.until and holds.until < self.wake.asked_at:
            return False
        if not self.over_at or (self.held_since and holds.since <= self.held_since):
            return True
        return holds.since <= self.over_at + SAME_MOMENT

    def count(self, holds: HoldsSeen) -> None:
        """Keep what was held for it by now."""
        self.held_since = holds.since
        self.wake = self.wake.model_copy(
            update={
                "held": holds.held,
                "longest_hold": holds.longest,
                "lost": holds.lost,
                "first_byte_at": holds.first_byte_at,
            }
        )


@dataclass(slots=True)
class _Counted:
    """The histogram of one version's wakes."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(WAKE_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[sum(bound < seconds for bound in WAKE_BOUNDS)] += 1
        self.total += seconds


class Ledger:
    """Follows the wakes that are under way, of each version the newest.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._times = WakeTimes(registry)
        self._outdated = True
        """Whether wakes came to readiness that are not among these times yet."""
        self._followed: dict[VersionKey, _Followed] = {}
        self._counted: dict[VersionKey, _Counted] = {}

    def leadership_changed(self) -> None:
        """Read how long wakes took meanwhile, for another controller may have led."""
        self._followed.clear()
        self._outdated = True

    async def read(self, versions: Collection[VersionKey], now: datetime) -> None:
        """Learn which wakes are under way, and how long those before took.

        Where SQL is away, return silently: what was known stays so.

        Args:
            versions: those that there are.
            now: the time of day.
        """
        # One that is opened while SQL answers may not be in its answer.
        known = list(self._followed.values())
        try:
            wakes = await self._registry.open_wakes()
            if self._outdated:
                await self._times.read(versions)
                self._outdated = False
        except Unavailable:
            return
        for followed in known:
            if followed.wake.key not in wakes and not followed.over_at:
                # SQL has ended it; why, only its reader needs to know.
                followed.wake = followed.wake.model_copy(update={"ended_at": now})
        for wake in wakes.values():
            await self._follow(wake)

    async def begin(self, key: VersionKey) -> None:
        """Follow a version's wake that was just opened, without waiting for a pass.

        Raises:
            Unavailable: SQL is away.
        """
        wake = (await self._registry.open_wakes()).get(key)
        if wake:
            await self._follow(wake)

    async def _follow(self, wake: Wake) -> None:
        before = self._followed.get(wake.key)
        if before and before.wake.asked_at >= wake.asked_at:
            return
        self._followed[wake.key] = _Followed(wake, wake)
        if before:
            # From now on, what is held is held for the new one.
            await self._write([before])

    def forget(self, keys: Collection[VersionKey]) -> None:
        """Forget versions that are registered no more, or anew."""
        for key in keys:
            self._followed.pop(key, None)
            self._counted.pop(key, None)
            self._times.forget(key)

    def applied(self, key: VersionKey, now: datetime) -> None:
        """Note that a backend is asked to start a version."""
        followed = self._followed.get(key)
        if followed and not followed.over_at and followed.wake.applied_at is None:
            followed.wake = followed.wake.model_copy(update={"applied_at": now})

    def expected(self, key: VersionKey) -> float | None:
        """Return how many seconds the next wake of a version should take; None if unknown."""
        return self._times.expected(key)

    def woken_at(self, key: VersionKey) -> datetime | None:
        """Return when the wake of a version was asked for that is under way; None if none is."""
        followed = self._followed.get(key)
        return followed.wake.asked_at if followed and not followed.over_at else None

    @property
    def under_way(self) -> bool:
        """Whether some version is on its way from sleep to readiness."""
        return any(not each.over_at for each in self._followed.values())

    def counted(self) -> Mapping[VersionKey, tuple[Sequence[int], float]]:
        """Return the histogram of each version's wakes since this start, and their sum."""
        return {key: (each.buckets, each.total) for key, each in self._counted.items()}

    async def review(
        self,
        statuses: Mapping[VersionKey, VersionStatus],
        have: Mapping[VersionKey, WorkloadStatus],
        loads: Mapping[VersionKey, Load],
        now: datetime,
    ) -> None:
        """Gather what has come to pass, and write it.

        Args:
            statuses: what each version was found to be.
            have: what runs of it.
            loads: what routers observed.
            now: the time of day.
        """
        news: list[_Followed] = []
        for key, followed in list(self._followed.items()):
            status, load = statuses.get(key), loads.get(key) or Load(key=key)
            if status is None:
                continue
            if not followed.done:
                self._look(followed, status, have.get(key), load, now)
            if followed.wake != followed.written if followed.done else followed.has_news:
                news.append(followed)
            elif followed.done:
                del self._followed[key]
        if news:
            await self._write(news)

    def _look(
        self,
        followed: _Followed,
        status: VersionStatus,
        have: WorkloadStatus | None,
        load: Load,
        now: datetime,
    ) -> None:
        was_over = followed.over_at
        if load.holds and followed.had(load.holds):
            followed.count(load.holds)
        followed.wake = seen(followed.wake, status, have)
        if followed.wake.ready_at and not was_over:
            counted = self._counted.setdefault(followed.wake.key, _Counted())
            counted.add(*durations([followed.wake]))
        followed.done = _is_over(followed.wake, status, load, now)

    async def _write(self, followed: Sequence[_Followed]) -> None:
        """Write how far wakes have come; where SQL is away, the next pass tries again."""
        try:
            await self._registry.save_wakes([each.wake for each in followed])
        except Unavailable:
            return
        for each in followed:
            self._outdated |= each.wake.ready_at != each.written.ready_at
            each.written = each.wake


def seen(wake: Wake, status: VersionStatus, have: WorkloadStatus | None) -> Wake:
    """Return a wake with the phases that it has passed by now; one that is over stays as it is.

    Args:
        wake: as it was known.
        status: what its version was found to be.
        have: what runs of it.
    """
    if wake.ready_at or wake.ended_at:
        return wake
    found = _phases(wake, have)
    if status.state is State.READY:
        found["ready_at"] = max(status.since, wake.asked_at)
    elif status.state is State.FAILED and status.since >= wake.asked_at:
        found["ended_at"] = status.since
    return wake.model_copy(update=found)


def _phases(wake: Wake, have: WorkloadStatus | None) -> dict[str, object]:
    """Return the phases that a wake has passed since it was looked at last."""
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
    return found


def _is_over(wake: Wake, status: VersionStatus, load: Load, now: datetime) -> bool:
    """Return whether nothing more will be known of a wake."""
    over_at = wake.ready_at or wake.ended_at
    if over_at is None:
        return False
    since = now - over_at
    if since <= TOLD:
        return False
    if load.held and status.state is State.READY:
        return since > COUNTED_WITHIN
    if wake.ready_at and wake.held > wake.lost and wake.first_byte_at is None:
        # Where nobody was answered, none comes.
        return status.state is not State.READY or since > FIRST_BYTE_WITHIN
    return True
