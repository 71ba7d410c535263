"""Demand: who asks for a sleeping version wakes it, and one that nobody asks for goes to sleep.

Routers tell what they hold for a version, which is the wish that it be woken. That is told by
level: a signal that was missed is seen by the next pass, and one that comes twice starts nothing
twice. What is decided here is written to SQL as a wish, and everything else follows from that.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from longshore.core import idle
from longshore.core.background import survived
from longshore.core.errors import NotFound
from longshore.core.foresight import Foresight
from longshore.core.ledger import Ledger
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.routes import RouteTable
from longshore.core.types import Event, Load, Model, State, VersionRecord, Wish
from longshore.core.wishes import CORE, wished

log = logging.getLogger(__name__)

ASKED_ANEW = 1.0
"""Seconds after a wake in which further signals for the same version ask nothing of SQL."""


class Demand:
    """Writes wishes for those who call, and for those whom nobody calls.

    Args:
        registry: where wishes are written.
        table: what routers tell.
        ledger: of the wakes.
        foresight: tells whose calls are expected.
        start: starts a version that was woken, before the next pass.
        tell: tells everybody of an event.
        leads: whether it is this process that decides.
        since: since when all loads are known; None while they are not.
        now: the time of day.
    """

    def __init__(
        self,
        registry: Registry,
        table: RouteTable,
        ledger: Ledger,
        foresight: Foresight,
        *,
        start: Callable[[VersionRecord], Awaitable[None]],
        tell: Callable[[Event], Awaitable[None]],
        leads: Callable[[], bool],
        since: Callable[[], datetime | None],
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._table = table
        self._ledger = ledger
        self._foresight = foresight
        self._start = start
        self._tell = tell
        self._now = now
        self._leads = leads
        self._since = since
        self._asked: dict[VersionKey, None] = {}
        self._news = asyncio.Event()
        self._idle: set[VersionKey] = set()
        """Those that were put to sleep here, by nobody's wish."""
        self._woken: dict[VersionKey, float] = {}
        """When each was woken last, by the loop's clock; only of the last moments."""

    def ask(self, key: VersionKey) -> None:
        """Hear that requests wait for a version; cheap, and any number of times."""
        self._asked[key] = None
        self._news.set()

    async def run(self) -> None:
        """Wake what is asked for, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._news.wait()
            self._news.clear()
            asked, self._asked = self._asked, {}
            recent = clock() - ASKED_ANEW
            self._woken = {key: at for key, at in self._woken.items() if at > recent}
            for key in asked:
                if key in self._woken:
                    continue
                self._woken[key] = clock()
                # The next pass sees that somebody still waits. Of a version that was deleted
                # meanwhile, the router lets go of those who wait.
                with survived(log, f"{key} cannot be woken"), contextlib.suppress(NotFound):
                    await self._wake(key)

    async def _wake(self, key: VersionKey) -> None:
        if not self._leads():
            return  # whoever does hears of it by a report
        record = await self._registry.version(key)
        load = self._table.load(key)
        if record.wish is Wish.RUN or not idle.asked_for(load, self._now()):
            return
        if record.collected and not record.collected.comes_back:
            return
        now, status = self._now(), record.status
        # What was held last may be over for long, and it was another who was turned away.
        came = load.holds.since if load.held and load.holds else load.turned_away_at
        # The clock of a router may be ahead of this one.
        since = min(came or now, now)
        if status.state in {State.ASLEEP, State.COLLECTED}:
            # Who has waited for longer did so for another wake.
            since = max(since, status.since)
        was = "slept" if record.wish is Wish.SLEEP else "was collected"
        reason = f"a request came while it {was}"
        await self._registry.set_wish(key, Wish.RUN, reason, at=since)
        await self._ledger.begin(key)
        # Read anew: from now on its plan stays as it is, and until now it might have changed.
        await self._start(await self._registry.version(key))
        await self._told(key, Wish.RUN, load, reason)

    def chose(self, key: VersionKey) -> bool:
        """Return whether it was decided here that a version sleeps, and not by a user."""
        return key in self._idle

    async def review(self, models: Sequence[Model], loads: Mapping[VersionKey, Load]) -> bool:
        """Look at everything once: at signals that were missed, and at who is to sleep or to wake.

        Args:
            models: what SQL tells.
            loads: what routers tell.

        Returns:
            Whether it wrote a wish.

        Raises:
            Unavailable: SQL is away.
        """
        wrote = False
        await self._foresight.look(models, loads, self._now())
        for record in (each for model in models for each in model.versions):
            key = record.version.key
            load = loads.get(key)
            now, expected = self._now(), self._foresight.of(key)
            if record.wish is not Wish.RUN:
                # For what is collected nothing is held, unless it may be woken so.
                if load and idle.asked_for(load, now):
                    self.ask(key)
                elif wake := idle.why_wake(
                    record,
                    takes=self._ledger.expected(key) or 0,
                    now=now,
                    expected=expected,
                    obeys=not self.chose(key),
                ):
                    seen = load or Load(key=key)
                    await self._wish(key, Wish.RUN, seen, wake.why, plugin=wake.plugin)
                    wrote = True
                continue
            since = self._since()
            if load is None or since is None:
                continue
            if reason := idle.why_sleep(record, load, started=since, now=now, expected=expected):
                self._idle.add(key)
                await self._wish(key, Wish.SLEEP, load, reason)
                wrote = True
        return wrote

    async def stay(self, key: VersionKey) -> None:
        """Let a version that was to go to sleep stay awake, as somebody still uses it.

        Raises:
            Unavailable: SQL is away.
        """
        reason = "a request that came while it went to sleep is still under way"
        await self._wish(key, Wish.RUN, self._table.load(key), reason)

    async def _wish(
        self, key: VersionKey, wish: Wish, load: Load, reason: str, plugin: str = CORE
    ) -> None:
        try:
            await self._registry.set_wish(key, wish, reason)
        except NotFound:
            return  # deleted meanwhile
        await self._told(key, wish, load, reason, plugin)

    async def _told(
        self, key: VersionKey, wish: Wish, load: Load, reason: str, plugin: str = CORE
    ) -> None:
        """Leave word of what was decided, and from which load."""
        if wish is Wish.RUN:
            self._idle.discard(key)
        decision = wished(wish.value, load, reason, by=plugin, at=self._now())
        await self._registry.add_decisions(key, [decision])
        event = Event(kind="wished", key=key, message=f"{wish.value}: {reason}", at=self._now())
        await self._registry.add_events([event])
        await self._tell(event)
