"""Holding: requests to a version that is on its way to readiness wait here, in order and bounded.

A version has a queue while requests to it wait. They leave it as soon as replicas have free slots
for them, first come, first served, and those that come meanwhile line up behind them. Where the
version turns out to be unable to start, all of them hear why at once. Nothing of a request is kept
here but its place: what was read of its body stays with whoever read it, and counts against the
bound on bytes.
"""

import asyncio
import contextlib
import functools
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from longshore.core.errors import LongshoreError, NotFound
from longshore.router.admission import Slot
from longshore.router.errors import Busy, NotReady, Waking

if TYPE_CHECKING:
    from longshore.core.settings import Settings
    from longshore.router.client import Client
    from longshore.router.table import RoutedVersion, Table

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
        again: whether it waits because no replica took its connection.
    """

    __slots__ = ("_queue", "_tell", "again", "since", "size", "slot", "until")

    def __init__(
        self,
        queue: "Queue",
        size: int,
        since: float,
        tell: Callable[[Outcome], None],
        *,
        again: bool,
    ) -> None:
        self._queue = queue
        self._tell = tell
        self.again = again
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
        """Whether only replicas will do that did not fail a moment ago."""
        # Not a plain dictionary, which forgets its first entries slowly.
        self.waiting: OrderedDict[Held, None] = OrderedDict()

    def add(self, held: Held) -> None:
        """Put a request at the end."""
        self.waiting[held] = None
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
            Waking: the version is on its way, but too much waits for it already.
        """
        if not may_wait(version) and not (version.replicas and refused_since):
            raise why
        now = self.clock()
        self._check_bounds(version, size, now)
        queue = version.queue
        if queue is None:
            queue = version.queue = Queue(self, version, now)
            self._queues[queue] = None
            version.meter.begin_holds(now)
        again = refused_since is not None
        held = Held(queue, size, refused_since or now, tell, again=again)
        queue.well = queue.well or again
        queue.add(held)
        if self._sweeping is None:
            self._wind()
        if not version.replicas:
            self._table.on_held(version.key)
        return held

    def _check_bounds(self, version: "RoutedVersion", size: int, now: float) -> None:
        limits, queue = self._limits, version.queue
        here, here_bytes = (len(queue.waiting), queue.size) if queue else (0, 0)
        for value, most, what in (
            (here + 1, limits.requests, "requests to it wait already (hold_requests)"),
            (self._requests + 1, limits.requests_in_all, "requests wait (hold_requests_total)"),
            (here_bytes + size, limits.bytes, "bytes of requests to it wait (hold_bytes)"),
            (self._bytes + size, limits.bytes_in_all, "bytes of requests wait (hold_bytes_total)"),
        ):
            if value > most:
                told = f"and no more can wait for it: at most {most} {what}"
                raise Waking(version.key, told, self.retry_after(version, now))

    # --- told by the table --------------------------------------------------------------------

    def look(self, version: "RoutedVersion") -> None:
        """Release as many as there are free slots for; or all, with why there will be none."""
        queue = version.queue
        while queue and queue.waiting:
            if not may_wait(version):
                route = version.route
                why = NotReady(version.key, route.state, route.reason, route.hint)
                self._end_all(queue, why)
                return
            try:
                slot = Slot(self._table, version, in_turn=True, well=queue.well)
            except (NotReady, Busy):
                return
            self._end(queue, next(iter(queue.waiting)), slot)

    def gone(self, version: "RoutedVersion") -> None:
        """Let go of all that wait for a version that is no more."""
        if version.queue:
            self._end_all(version.queue, NotFound(f"{version.key} was deleted meanwhile"))

    # --- within -------------------------------------------------------------------------------

    def retry_after(self, version: "RoutedVersion", now: float) -> int:
        """Return after how many seconds the version should be ready, by its earlier wakes."""
        expected = version.route.wake_seconds or UNKNOWN_WAKE
        since = version.queue.since if version.queue else now
        return max(1, math.ceil(expected - (now - since)))

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
        """Refuse those who waited too long; the first is the one who waits longest."""
        seconds = self._limits.seconds
        while queue.waiting:
            first = next(iter(queue.waiting))
            # A clock that was set back makes nobody wait for ever.
            if 0 <= now - first.since < seconds:
                return
            version = queue.version
            what = "no slot was free" if version.replicas else "it was not ready"
            told = f"and {what} within the {seconds:g} s that a request waits (hold_seconds)"
            self._end(queue, first, Waking(version.key, told, self.retry_after(version, now)))


def may_wait(version: "RoutedVersion") -> bool:
    """Return whether a request that finds no slot may hope for one."""
    if version.replicas:
        # Those who were held get their slots first; whoever comes meanwhile stands behind them.
        return version.queue is not None
    return version.route.coming


async def admitted(table: "Table", version: "RoutedVersion", client: "Client") -> Slot:
    """Return a slot for a request on the long way; wait for it where it may hope for one.

    Args:
        table: where the version is.
        version: where the request goes.
        client: who asks; whoever leaves gives its place up.

    Raises:
        NotReady: the version has no replica, and none is on its way.
        Busy: no replica has a free slot.
        Waking: one is on its way, and the request waited too long, or found too much waiting.
        ClientLeft: nobody waits for the answer any more.
    """
    with contextlib.suppress(NotReady, Busy):
        return Slot(table, version)
    slot: Slot | None = None
    held: Held | None = None
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    try:
        async with client.attached():
            # By then it is known how much of it was read, and whether the client leaves.
            size = await client.first() if may_wait(version) else 0
            try:
                slot = Slot(table, version)
            except (NotReady, Busy) as error:
                tell = functools.partial(_settle, outcome)
                held = table.holding.enter(version, size, tell, error)
                slot = _slot_of(await outcome)
    except BaseException:
        if held:
            held.leave()
        elif slot:
            slot.give_back()
        raise
    return slot


async def elsewhere(slot: Slot, why: LongshoreError, since: float) -> None:
    """Wait until a request whose connection no replica took has a slot on another one.

    Nothing of it was sent.

    Args:
        slot: the request's; while it waits, the slot rests.
        why: how the last replica failed it; raised where it is not to wait.
        since: when the request came, in seconds since the epoch.

    Raises:
        LongshoreError: as given; or why there will be none.
    """
    slot.rest()
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    tell = functools.partial(_settle, outcome)
    held = slot.table.holding.enter(slot.version, 0, tell, why, refused_since=since)
    try:
        slot.go_on(_slot_of(await outcome))
    except BaseException:
        held.leave()
        raise


def _settle(outcome: "asyncio.Future[Outcome]", what: Outcome) -> None:
    if not outcome.done():
        outcome.set_result(what)


def _slot_of(outcome: Outcome) -> Slot:
    if isinstance(outcome, Slot):
        return outcome
    raise outcome
