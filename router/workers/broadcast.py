"""The parent's side of the route table: every change goes on to all workers.

It keeps a table of its own, too, in which no request ever runs: its meters are the sums of what the
workers count, so that the controller and /metrics read there what all of them carried.

Nothing queues up for a worker that is slow. What it still has to hear is kept as names of models,
and when it listens again it is told the newest routes of each.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from longshore.core.errors import NotFound
from longshore.core.names import VersionKey
from longshore.core.routes import ModelRoute
from longshore.core.types import Load
from longshore.router.meter import Meter
from longshore.router.routed import RoutedVersion
from longshore.router.table import Table
from longshore.router.workers.counts import CONNECTIONS, ROWS, Counts
from longshore.router.workers.messages import (
    MOST_LINE,
    Observation,
    Reach,
    Remove,
    Update,
    line,
)

log = logging.getLogger(__name__)

LOOK = 0.02
"""Seconds between looks at the counts while replicas drain."""


class Subscriber:
    """What one worker has heard of the table, and what it has yet to hear.

    Args:
        number: the worker's.
        broadcast: where it comes from.
        names: of the models that are there already.
    """

    def __init__(self, number: int, broadcast: "Broadcast", names: Iterable[str]) -> None:
        self.number = number
        self.reached = -1
        """How many changes are in its table; -1 before it has all that were there at its start."""
        self._broadcast = broadcast
        self._names = dict.fromkeys(names)
        self._news = asyncio.Event()
        self._news.set()

    def tell(self, name: str) -> None:
        """Note that a model changed."""
        self._names[name] = None
        self._news.set()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield what to tell the worker next, when it can be told, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            names, self._names = self._names, {}
            generation = self._broadcast.generation
            for name in names:
                yield self._broadcast.line(name)
            yield line(Reach(generation=generation))


class _Counted:
    """What was counted of one version: of its own requests, and of its copies as a shadow."""

    def __init__(self, observation: Observation | None = None) -> None:
        self.meter = Meter.of(observation.numbers) if observation else Meter()
        shadow = observation.shadow if observation else None
        self.shadow = Meter.of(shadow) if shadow else None

    def add(self, other: "_Counted") -> None:
        self.meter.add(other.meter)
        if other.shadow:
            self.shadow = self.shadow or Meter()
            self.shadow.add(other.shadow)

    def end(self, now: float) -> None:
        """Forget what was under way: what was held is lost."""
        self.meter.in_flight = 0
        self.meter.lose(now)
        if self.shadow:
            self.shadow.in_flight = self.shadow.held = 0


class _Sum:
    """What the workers counted of one version."""

    def __init__(self, key: VersionKey, created_at: datetime) -> None:
        self.key = key
        self.created_at = created_at
        self.parts: dict[Subscriber, _Counted] = {}
        self.past = _Counted()
        """By workers that ended."""

    def total(self) -> _Counted:
        total = _Counted()
        for each in (self.past, *self.parts.values()):
            total.add(each)
        return total


class Broadcast:
    """A ``core.routes.RouteTable`` for the controller.

    Args:
        table: the parent's own.
        counts: where workers count requests in flight.
    """

    def __init__(self, table: Table, counts: Counts) -> None:
        self.table = table
        self.counts = counts
        self.generation = 0
        """How many changes there were."""
        self._lines: dict[str, bytes] = {}
        self._replicas: dict[str, frozenset[str]] = {}
        """Of each model."""
        self._subscribers: set[Subscriber] = set()
        self._sums: dict[str, dict[str, _Sum]] = {}
        """By model and version."""
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._used = CONNECTIONS + 1
        """Rows that were ever used."""
        self._gone: dict[str, int] = {}
        """Replicas that left the table, and in which generation; each keeps its row until no
        worker has a request on it."""

    # --- told by the controller ---------------------------------------------------------------

    async def update(self, route: ModelRoute) -> None:
        """Put a model into the table, or replace it; requests in flight are not touched."""
        endpoints = [each.replica for version in route.versions for each in version.endpoints]
        rows = {each: row for each in endpoints if (row := self._row(each))}
        told = line(Update(route=route, rows=rows))
        if len(told) > MOST_LINE:
            log.error("model %s has too many versions to be told to workers", route.name)
            return
        await self.table.update(route)
        self._lines[route.name] = told
        self._changed(route.name, frozenset(endpoints))

    async def remove(self, name: str) -> None:
        """Take a model out of the table; if there is none, return silently."""
        await self.table.remove(name)
        if self._lines.pop(name, None):
            self._changed(name, frozenset())
            del self._replicas[name], self._sums[name]

    async def drain(self, replicas: Collection[str], within: float) -> bool:
        """Wait until no request is in flight on these replicas, at most ``within`` seconds.

        Returns:
            Whether all of them are quiet.
        """
        goal = self.generation
        rows = [row for each in replicas if (row := self._rows.get(each))]

        def quiet() -> bool:
            return self._everybody_reached(goal) and not any(map(self.counts.total, rows))

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not quiet():  # noqa: ASYNC110 - memory tells nobody that it changed
                    await asyncio.sleep(LOOK)
        return quiet()

    def loads(self) -> Sequence[Load]:
        """Return what was observed of each version in the table since it came."""
        return self.table.loads()

    def load(self, key: VersionKey) -> Load:
        """Return what was observed of one version; zeros where nothing was."""
        return self.table.load(key)

    # --- told by workers ----------------------------------------------------------------------

    def join(self, number: int) -> Subscriber:
        """Return what a new worker has to hear, beginning with the whole table."""
        subscriber = Subscriber(number, self, self._lines)
        self._subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber, column: int) -> None:
        """Forget a worker that ended: what it had counted stays, what it had in flight is over."""
        self._subscribers.discard(subscriber)
        self.counts.clear(column, self._used)
        for known in self._all_sums():
            if part := known.parts.pop(subscriber, None):
                part.end(self.table.clock())
                known.past.add(part)
                self._show(known)

    def observed(self, subscriber: Subscriber, observation: Observation) -> None:
        """Add up what a worker counted; versions that are gone meanwhile are passed over."""
        key = observation.key
        of_model = self._sums.get(key.name, {})
        known = of_model.get(key.version)
        if known is None or known.created_at != observation.created_at:
            known = _Sum(key, observation.created_at)
        before = known.parts.get(subscriber)
        known.parts[subscriber] = counted = _Counted(observation)
        if self._show(known):
            of_model[key.version] = known
            self._sums[key.name] = of_model
            turned_away = before.meter.turned_away if before else None
            if counted.meter.waiting or counted.meter.turned_away != turned_away:
                self.table.on_held(key)

    def answered(self) -> Mapping[int, int]:
        """Return how many requests each worker answered, of those that are there now."""
        totals = dict.fromkeys(sorted(each.number for each in self._subscribers), 0)
        for known in self._all_sums():
            for subscriber, part in known.parts.items():
                totals[subscriber.number] += part.meter.answers.total()
        return totals

    def line(self, name: str) -> bytes:
        """Return what to tell of a model."""
        return self._lines.get(name) or line(Remove(name=name))

    # --- within -------------------------------------------------------------------------------

    def _changed(self, name: str, replicas: frozenset[str]) -> None:
        self.generation += 1
        for each in self._replicas.get(name, frozenset()) - replicas:
            self._gone[each] = self.generation
        self._replicas[name] = replicas
        of_model = self._sums.get(name, {})
        self._sums[name] = {each: known for each, known in of_model.items() if self._routed(known)}
        for subscriber in self._subscribers:
            subscriber.tell(name)

    def _row(self, replica: str) -> int | None:
        """Return the row of a replica; None where there are too many of them."""
        self._gone.pop(replica, None)
        row = self._rows.get(replica)
        if row is None:
            self._reclaim()
            if self._free:
                row = self._free.pop()
            elif self._used < ROWS:
                row, self._used = self._used, self._used + 1
            else:
                log.error(
                    "more than %d replicas: each worker counts its own requests to %s",
                    ROWS,
                    replica,
                )
                return None
            self._rows[replica] = row
        return row

    def _reclaim(self) -> None:
        """Free the rows of replicas that nobody can have a request on any more."""
        for replica, generation in list(self._gone.items()):
            row = self._rows[replica]
            if self._everybody_reached(generation) and not self.counts.total(row):
                del self._gone[replica], self._rows[replica]
                self._free.append(row)

    def _everybody_reached(self, generation: int) -> bool:
        return all(each.reached >= generation for each in self._subscribers)

    def _all_sums(self) -> Iterator[_Sum]:
        for of_model in self._sums.values():
            yield from of_model.values()

    def _show(self, known: _Sum) -> bool:
        """Put a version's sum into the table; return False if that version is gone."""
        version = self._routed(known)
        if version:
            total = known.total()
            version.meter, version.shadow_meter = total.meter, total.shadow
        return version is not None

    def _routed(self, known: _Sum) -> RoutedVersion | None:
        try:
            found = self.table.version(known.key.name, known.key.version)
        except NotFound:
            return None
        return found if found.route.version.created_at == known.created_at else None
