"""Holding: requests to a version that is on its way to readiness wait here, in order and bounded.

A version has a queue while requests to it wait. They leave it as soon as replicas have free slots
for them, first come, first served, and those that come meanwhile line up behind them. Where the
version turns out to be unable to start, all of them hear why at once. Nothing of a request is kept
here but its place: what was read of its body stays with whoever read it, and counts against the
bound on bytes.
"""

import asyncio
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from longshore.core.errors import LongshoreError, NotFound
from longshore.router.admission import Slot
from longshore.router.errors import Busy, NotReady, Unreachable, Waking

if TYPE_CHECKING:
    from longshore.core.settings import Settings
    from longshore.router.routed import RoutedVersion
    from longshore.router.table import Table

SWEEP = 0.05
"""Seconds between looks for those who waited too long, and for slots that another process freed."""

UNKNOWN_WAKE = 10.0
"""Seconds that a wake is taken to last while nothing is known of earlier ones."""

Outcome = Slot | LongshoreError
"""What becomes of a request that was held: its slot, or why there is none."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """How much one router process holds; the settings of the same names tell more."""

    requests: int = 2_000
    requests_in_all: int = 10_000
    bytes: int = 64 << 20
    bytes_in_all: int = 256 << 20
    seconds: float = 60

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return what the settings say."""
        return cls(
            settings.hold_requests,
            settings.hold_requests_total,
            settings.hold_bytes,
            settings.hold_bytes_total,
            settings.hold_seconds,
        )


class Held:
    """A request's place in its version's queue.

    Args:
        queue: where it waits.
        size: bytes of it that were read.
        since: when it came, in seconds since the epoch.
        tell: called once with what becomes of it, unless it leaves before.
        unreached: how the last replica failed it, if it waits because none took its connection.
    """

    __slots__ = ("_queue", "_tell", "since", "size", "slot", "unreached", "until")

    def __init__(
        self,
        queue: "Queue",
        size: int,
        since: float,
        tell: Callable[[Outcome], None],
        unreached: LongshoreError | None,
    ) -> None:
        self._queue = queue
        self._tell = tell
        self.unreached = unreached
        self.size = size
        self.since = since
        self.until: float | None = None
        """When it was released."""
        self.slot: Slot | None = None

    @property
    def waited(self) -> float:
        """How many seconds it was held; 0 while it is."""
        return max(0.0, (self.until or self.since) - self.since)

    def leave(self) -> None:
        """Give up the place, or the slot that it has become and nobody has used."""
        self._queue.drop(self)
        if self.slot:
            self.slot.give_back()
            self.slot = None

    def told(self, outcome: Outcome, now: float) -> None:
        """Hear what becomes of it."""
        self.until = now
        if isinstance(outcome, Slot):
            self.slot = outcome
            outcome.held = self
        self._tell(outcome)

    def answering(self, now: float) -> None:
        """Note that the first bytes of its answer are on their way to the client."""
        self._queue.version.meter.answering(now)


class Queue:
    """Those who wait for one version; it is there only while there are any.

    Args:
        holding: all queues.
        version: what they wait for.
        since: when the first of them came, in seconds since the epoch.
    """

    __slots__ = ("holding", "since", "size", "version", "waiting", "well")

    def __init__(self, holding: "Holding", version: "RoutedVersion", since: float) -> None:
        self.holding = holding
        self.version = version
        self.since = since
        self.size = 0
        self.well = False
        """Whether some have found their replicas gone: only one that has not just failed will do
        then. They came before all others, and wait in front of them."""
        # Not a plain dictionary, which forgets its first entries slowly.
        self.waiting: OrderedDict[Held, None] = OrderedDict()

    def add(self, held: Held) -> None:
        """Put a request at the end, or in front if it has waited before."""
        self.waiting[held] = None
        if held.unreached:
            self.well = True
            self.waiting.move_to_end(held, last=False)
        self.size += held.size
        self.holding.count(1, held.size)
        self.version.meter.waiting += 1

    def drop(self, held: Held) -> None:
        """Take a request out; if it is not here, return silently."""
        if held in self.waiting:
            del self.waiting[held]
            self.size -= held.size
            self.holding.count(-1, -held.size)
            now = self.holding.clock()
            self.version.meter.waited(now - held.since)
            if not self.waiting:
                self.holding.emptied(self, now)

    def freed(self) -> None:
        """Hear that a slot may have become free."""
        self.holding.look(self.version)


class Holding:
    """All that one router holds.

    Args:
        table: where the versions are.
        limits: how much it may be.
    """

    def __init__(self, table: "Table", limits: HoldLimits) -> None:
        self._table = table
        self._limits = limits
        self._queues: dict[Queue, None] = {}
        self._requests = 0
        self._bytes = 0
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since the epoch."""
        return self._table.clock

    @property
    def requests(self) -> int:
        """How many requests are held now."""
        return self._requests

    @property
    def bytes(self) -> int:
        """How many bytes of them were read."""
        return self._bytes

    # --- asked by requests --------------------------------------------------------------------

    def enter(
        self,
        version: "RoutedVersion",
        size: int,
        tell: Callable[[Outcome], None],
        why: LongshoreError,
        *,
        refused_since: float | None = None,
    ) -> Held:
        """Hold a request that found no slot, if it may hope for one.

        Args:
            version: where it goes.
            size: how many bytes of it were read.
            tell: called once, and never from within: with its slot, or why it gets none.
            why: why it found no slot; raised where it is not to wait.
            refused_since: when it came, in seconds since the epoch, if no replica takes its
                connection: they are gone, and others come soon, or it hears why they do not.

        Raises:
            LongshoreError: as given; nothing that could be waited for is under way.
            NotReady: so it is after no replica took its connection.
            NotFound: the version was deleted meanwhile.
            Waking: the version is on its way, but too much waits for it already.
            Unreachable: so it is after no replica took its connection.
        """
        unreached = None if refused_since is None else why
        if version.deleted:
            raise _deleted(version)
        if not may_wait(version) and not (version.replicas and unreached):
            raise NotReady(version.route, self.clock()) if unreached else why
        now = self.clock()
        if full := self._full(version, size):
            if unreached and version.replicas:
                told = f"and no more requests can wait for that: {full}"
                raise Unreachable(version.key, told, unreached.message)
            if not version.replicas:
                # It is wanted all the same, and has to be awake when they come again.
                version.meter.turned_away = now
                self._table.on_held(version.key)
            told = f"and no more can wait for it: {full}"
            raise Waking(version.key, told, self.retry_after(version, now))
        queue = version.queue
        if queue is None:
            queue = version.queue = Queue(self, version, now)
            self._queues[queue] = None
            version.meter.begin_holds(now, _woken_at(version))
        held = Held(queue, size, refused_since or now, tell, unreached)
        queue.add(held)
        if self._sweeping is None:
            self._wind()
        if not version.replicas:
            self._table.on_held(version.key)
        return held

    def _full(self, version: "RoutedVersion", size: int) -> str:
        """Return which bound one more request of that size would cross; empty if none."""
        limits, queue = self._limits, version.queue
        here, here_bytes = (len(queue.waiting), queue.size) if queue else (0, 0)
        for value, most, what in (
            (here + 1, limits.requests, "requests to it wait already (hold_requests)"),
            (self._requests + 1, limits.requests_in_all, "requests wait (hold_requests_total)"),
            (here_bytes + size, limits.bytes, "bytes of requests to it wait (hold_bytes)"),
            (self._bytes + size, limits.bytes_in_all, "bytes of requests wait (hold_bytes_total)"),
        ):
            if value > most:
                return f"at most {most} {what}"
        return ""

    # --- told by the table --------------------------------------------------------------------

    def look(self, version: "RoutedVersion") -> None:
        """Release as many as there are free slots for; or all, with why there will be none."""
        queue = version.queue
        while queue and queue.waiting:
            if not may_wait(version):
                self._end_all(queue, NotReady(version.route, self.clock()))
                return
            try:
                slot = Slot(self._table, version, in_turn=True, well=queue.well)
            except (NotReady, Busy):
                return
            self._end(queue, next(iter(queue.waiting)), slot)

    def gone(self, version: "RoutedVersion") -> None:
        """Let go of all that wait for a version that is no more."""
        if version.queue:
            self._end_all(version.queue, _deleted(version))

    # --- within -------------------------------------------------------------------------------

    def retry_after(self, version: "RoutedVersion", now: float) -> int:
        """Return after how many seconds the version should be ready, by its earlier wakes."""
        expected = version.route.wake_seconds
        since = _woken_at(version)
        if since is None:
            # The wake that the first who waits asks for may not be known here yet.
            since = version.queue.since if version.queue else now
        passed = max(0.0, now - since)
        return max(1, math.ceil((UNKNOWN_WAKE if expected is None else expected) - passed))

    def count(self, requests: int, size: int) -> None:
        """Count what is held."""
        self._requests += requests
        self._bytes += size

    def emptied(self, queue: Queue, now: float) -> None:
        """Forget a queue in which nobody waits any more."""
        self._queues.pop(queue, None)
        if queue.version.queue is queue:
            queue.version.queue = None
        queue.version.meter.end_holds(now)

    def _end(self, queue: Queue, held: Held, outcome: Outcome) -> None:
        queue.drop(held)
        held.told(outcome, self.clock())

    def _end_all(self, queue: Queue, why: LongshoreError) -> None:
        for held in list(queue.waiting):
            self._end(queue, held, why)

    def _wind(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        now = self.clock()
        for queue in list(self._queues):
            self.look(queue.version)
            self._refuse_late(queue, now)
        self._sweeping = None
        if self._queues:
            self._wind()

    def _refuse_late(self, queue: Queue, now: float) -> None:
        for held in self._late(queue, now):
            self._end(queue, held, self._too_late(queue.version, held, now))

    def _late(self, queue: Queue, now: float) -> list[Held]:
        """Return those who waited too long."""

        def late(held: Held) -> bool:
            # A clock that was set back makes nobody wait for ever.
            return not 0 <= now - held.since < self._limits.seconds

        # Those who wait again stand in front, but not in the order in which they came.
        return list((filter if queue.well else itertools.takewhile)(late, queue.waiting))

    def _too_late(self, version: "RoutedVersion", held: Held, now: float) -> LongshoreError:
        within = f"within the {self._limits.seconds:g} s that a request waits (hold_seconds)"
        if held.unreached and version.replicas:
            return Unreachable(version.key, within, held.unreached.message)
        what = "no slot was free" if version.replicas else "it was not ready"
        return Waking(version.key, f"and {what} {within}", self.retry_after(version, now))


def may_wait(version: "RoutedVersion") -> bool:
    """Return whether a request that finds no slot may hope for one."""
    if version.replicas:
        # Those who were held get their slots first; whoever comes meanwhile stands behind them.
        return version.queue is not None
    return version.route.coming


def _woken_at(version: "RoutedVersion") -> float | None:
    """Return when the wake was asked for that is under way, in seconds since the epoch."""
    woken_at = version.route.woken_at
    return woken_at.timestamp() if woken_at else None


def _deleted(version: "RoutedVersion") -> NotFound:
    return NotFound(f"{version.key} was deleted meanwhile")
