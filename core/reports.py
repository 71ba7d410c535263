"""What routers tell the leader, and what it tells them: one report and one reply a second.

A report holds everything, so that one which is lost does no harm: the next one replaces it. The
leader adds up the newest of each router, and sees to it that a replica is stopped only when no
router sends requests there any more.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.core.idle import LATELY
from longshore.core.names import VersionKey
from longshore.core.routes import ModelRoute, RouteTable
from longshore.core.types import HoldsSeen, Load, Value, utc_now

EVERY = 1.0
"""Seconds between two reports of a router."""

SILENT = 10.0
"""Seconds without a report after which a router counts as gone."""

REMEMBERED = 120.0
"""Seconds that routers are told to leave a replica alone; it is long gone by then."""

LOOK = 0.05
"""Seconds between looks at whether all routers have left a replica alone."""

_REIGN = 1 << 32
"""How many numbers one leader has to tell with."""


class Report(Value):
    """What one router observed."""

    router: str
    """Id of its process."""
    loads: tuple[Load, ...]
    quiet: Mapping[str, int] = {}
    """Replicas that it was told to leave alone, and does, with nothing in flight there; each with
    the number that it was told with."""
    wants_sums: bool = False
    """Whether the reply is to have the sums: an autoscaler may ask this process for them."""


class Reply(Value):
    """What the leader answers."""

    retiring: Mapping[str, int] = {}
    """Replicas to leave alone, each with a number that is new for each time it is said."""
    loads: tuple[Load, ...] = ()
    """The sums of all routers, for whoever wants them."""


@dataclass(frozen=True, slots=True)
class _Router:
    """The newest report of one router."""

    heard_at: float
    loads: Mapping[VersionKey, Load]
    quiet: Mapping[str, int]


class Reports:
    """A ``core.routes.RouteTable`` over this process's own, with what others observe added.

    Where this process leads, ``take`` feeds it with reports. Where it does not, ``heard`` does,
    with the leader's replies.

    Args:
        table: this process's own.
        alone: whether no other process can have routes.
        clock: seconds that nobody sets; another one in tests.
    """

    def __init__(
        self,
        table: RouteTable,
        *,
        alone: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._alone = alone
        self.hurried: Callable[[], None] = lambda: None
        """Called when requests are held for a version for which none were held a moment ago."""
        self._clock = clock
        self._routers: dict[str, _Router] = {}
        self._times: dict[VersionKey, Load] = {}
        """When versions were last called through routers that are gone; they count nothing else."""
        self._retiring: dict[str, tuple[int, float]] = {}
        """Replicas to leave alone: the number, and until when this is said."""
        self._number = self._reign = 0
        """The last number that was told with, and the one below the first."""
        self._all_known_at = float("-inf")
        """By when whoever lives has reported."""
        self._reply = Reply()
        """The leader's, where that is another process."""
        self._sums: Mapping[VersionKey, Load] = {}
        self._replied_at = float("-inf")

    # --- a route table ------------------------------------------------------------------------

    async def update(self, route: ModelRoute) -> None:
        """Put a model into the table; replicas in it are not to be left alone any more."""
        for version in route.versions:
            for endpoint in version.endpoints:
                self._retiring.pop(endpoint.replica, None)
        self._keep_times(route.name, {each.version.key for each in route.versions})
        await self._table.update(route)

    async def remove(self, name: str) -> None:
        """Take a model out of the table; if there is none, return silently."""
        self._keep_times(name, ())
        await self._table.remove(name)

    async def drain(self, replicas: Collection[str], within: float) -> bool:
        """Wait until no router has a request in flight there, at most ``within`` seconds.

        Routers that fell silent are not waited for. Who leads only since a moment ago waits until
        all that live have had the time to report.
        """
        ends = self._clock() + within
        self._number += 1
        told = dict.fromkeys(replicas, self._number)
        self._retiring.update(dict.fromkeys(told, (self._number, ends + REMEMBERED)))
        quiet = await self._table.drain(replicas, within)
        if not told:
            return quiet
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ends - self._clock()):
                while not self._left_alone(told):  # noqa: ASYNC110 - also that a router falls silent
                    await asyncio.sleep(LOOK)
        return quiet and self._left_alone(told)

    def loads(self) -> Sequence[Load]:
        """Return what all routers observed of each version."""
        return [self._with_others(each) for each in self._table.loads()]

    def load(self, key: VersionKey) -> Load:
        """Return what all routers observed of one version."""
        return self._with_others(self._table.load(key))

    # --- where this process leads -------------------------------------------------------------

    def take(self, report: Report) -> Reply:
        """Keep a router's report in place of its last one; return what to answer."""
        before = self._routers.get(report.router)
        known = before.loads if before else {}
        loads = {each.key: each for each in report.loads}
        self._routers[report.router] = _Router(self._clock(), loads, dict(report.quiet))
        if any(_asks_anew(each, known.get(each.key)) for each in report.loads):
            self.hurried()
        now = self._clock()
        self._retiring = {each: said for each, said in self._retiring.items() if said[1] > now}
        return Reply(
            retiring={each: number for each, (number, _) in self._retiring.items()},
            loads=tuple(self.loads()) if report.wants_sums else (),
        )

    def live(self) -> Sequence[str]:
        """Return the ids of the routers that reported lately."""
        self._drop_silent()
        return list(self._routers)

    # --- where another one leads --------------------------------------------------------------

    def own(self) -> Sequence[Load]:
        """Return what this process observed itself."""
        return [each for each in self._table.loads() if each.last_request_at or each.held]

    async def quiet(self, retiring: Mapping[str, int]) -> Mapping[str, int]:
        """Return those of these replicas that have no request of this process in flight.

        Args:
            retiring: replicas that are in this process's table no more.
        """
        return {
            each: number for each, number in retiring.items() if await self._table.drain([each], 0)
        }

    def heard(self, reply: Reply) -> None:
        """Keep what the leader answered."""
        self._reply, self._replied_at = reply, self._clock()
        self._sums = {each.key: each for each in reply.loads}

    def retiring(self) -> Mapping[str, int]:
        """Return the replicas that the leader told to leave alone."""
        return self._reply.retiring

    # --- both ---------------------------------------------------------------------------------

    def forget(self) -> None:
        """Begin anew: this process has begun or ceased to lead."""
        self._routers.clear()
        self._retiring.clear()
        # What routers answer to an earlier leader says nothing of what this one tells.
        self._number = self._reign = secrets.randbits(30) * _REIGN
        if not self._alone:
            self._all_known_at = self._clock() + SILENT
        self.heard(Reply())
        self._replied_at = float("-inf")

    def _with_others(self, own: Load) -> Load:
        if self._clock() - self._replied_at < SILENT:
            # The leader's sum has ours in it.
            return self._sums.get(own.key, own)
        self._drop_silent()
        total = own
        if own.key in self._times:
            total = together(total, self._times[own.key])
        for router in self._routers.values():
            if own.key in router.loads:
                total = together(total, router.loads[own.key])
        return total

    def _keep_times(self, name: str, keys: Collection[VersionKey]) -> None:
        """Forget versions of a model that are gone."""
        self._times = {
            key: load for key, load in self._times.items() if key.name != name or key in keys
        }

    def _drop_silent(self) -> None:
        since = self._clock() - SILENT
        for gone in [each for each, router in self._routers.items() if router.heard_at < since]:
            for load in self._routers.pop(gone).loads.values():
                # Its requests are over, or nobody knows of them; when the last ones were stays.
                update = {"in_flight": 0, "held": 0, "rate": 0.0, "holds": _lost_with(load)}
                times = load.model_copy(update=update)
                known = self._times.get(load.key)
                self._times[load.key] = together(known, times) if known else times

    def _left_alone(self, told: Mapping[str, int]) -> bool:
        self._drop_silent()
        return self._clock() >= self._all_known_at and all(
            number <= router.quiet.get(each, 0) <= self._reign + _REIGN
            for router in self._routers.values()
            for each, number in told.items()
        )


def _asks_anew(load: Load, before: Load | None) -> bool:
    """Return whether requests wait, or were turned away, for a version that nobody asked for."""
    if load.held and not (before and before.held):
        return True
    at, last = load.turned_away_at, before.turned_away_at if before else None
    return at is not None and (last is None or at - last > LATELY)


def together(one: Load, other: Load) -> Load:
    """Return what two routers observed of a version together."""
    return one.model_copy(
        update={
            "in_flight": one.in_flight + other.in_flight,
            "held": one.held + other.held,
            "turned_away_at": _later(one.turned_away_at, other.turned_away_at),
            "holds": _held_together(one.holds, other.holds),
            "rate": one.rate + other.rate,
            "last_request_at": _later(one.last_request_at, other.last_request_at),
            "last_answer_at": _later(one.last_answer_at, other.last_answer_at),
        }
    )


def _held_together(one: HoldsSeen | None, other: HoldsSeen | None) -> HoldsSeen | None:
    """Return what two routers held during the last wake; an earlier one is passed over."""
    if one is None or other is None:
        return one or other
    early, late = sorted((one, other), key=lambda each: each.since)
    if early.until and early.until < late.since:
        return late
    ends = [each.until for each in (early, late) if each.until]
    firsts = [each for each in (early.first_byte_at, late.first_byte_at) if each]
    return HoldsSeen(
        since=early.since,
        until=max(ends) if len(ends) == len((early, late)) else None,
        held=early.held + late.held,
        longest=max(early.longest, late.longest),
        first_byte_at=min(firsts, default=None),
        lost=early.lost + late.lost,
    )


def _lost_with(load: Load) -> HoldsSeen | None:
    """Return what a router held that is gone: what it held last, it lost."""
    if load.holds is None or load.holds.until:
        return load.holds
    return load.holds.model_copy(update={"until": utc_now(), "lost": load.holds.lost + load.held})


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((each for each in (one, other) if each is not None), default=None)
