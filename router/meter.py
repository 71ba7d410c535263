"""What a router observes of one version: a fixed handful of numbers, cheap to keep."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from longshore.core.names import VersionKey
from longshore.core.types import Load
from longshore.router.holds import HOLD_BOUNDS, Holds

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latency histogram, in seconds; one more bucket takes the rest."""

_TICK = 5
_TICKS = 12
"""Arrivals of the last minute are counted in twelve buckets of five seconds."""


class Meter:
    """Counts the requests to one version; all times are seconds since the epoch."""

    __slots__ = (
        "_arrivals",
        "_place",
        "_tick_began",
        "_tick_ends",
        "_ticks",
        "answers",
        "copies",
        "ejections",
        "held",
        "hold_seconds",
        "hold_times",
        "holds",
        "in_flight",
        "last_answer",
        "last_request",
        "latencies",
        "seconds",
        "turned_away",
        "waiting",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.last_request: float | None = None
        self.last_answer: float | None = None
        self.answers: Counter[str] = Counter()
        """How many requests ended as what: ``2xx`` to ``5xx``, or ``aborted``."""
        self.ejections = 0
        """How often a replica was taken out for a moment."""
        self.copies: Counter[str] = Counter()
        """Of the meter of a shadow: how many copies became what, with the reason after a blank."""
        self.held = 0
        """Of the meter of a shadow: bytes of the bodies that are held for copies."""
        self.waiting = 0
        """How many requests are held now, until the version has a replica for them."""
        self.turned_away: float | None = None
        """When a request was last refused because too much is held already."""
        self.holds: Holds | None = None
        """What was held during the last wake."""
        self.hold_times = [0] * (len(HOLD_BOUNDS) + 1)
        self.hold_seconds = 0.0
        """All times that requests were held, together."""
        self.latencies = [0] * (len(LATENCY_BOUNDS) + 1)
        self.seconds = 0.0
        """All latencies together."""
        self._arrivals = [0] * _TICKS
        self._ticks = [0] * _TICKS
        self._place = 0
        """Of the bucket that counts now."""
        self._tick_began = self._tick_ends = 0.0

    def arrived(self, now: float) -> None:
        """Count a request that was routed here, whether or not a replica can take it."""
        if not self._tick_began <= now < self._tick_ends:
            self._turn_to(now)
        self._arrivals[self._place] += 1
        self.last_request = now

    def _turn_to(self, now: float) -> None:
        """Begin the bucket of this moment."""
        tick = int(now) // _TICK
        self._tick_began, self._tick_ends = float(tick * _TICK), float((tick + 1) * _TICK)
        self._place = tick % _TICKS
        self._ticks[self._place] = tick
        self._arrivals[self._place] = 0

    def ended(self, outcome: str, arrived: float, now: float) -> None:
        """Count how a request ended.

        Args:
            outcome: the class of the status, or ``aborted`` where no complete answer was given.
            arrived: when the request came.
            now: when its last byte was answered.
        """
        seconds = now - arrived
        if seconds < 0:
            # Somebody set the clock back meanwhile.
            seconds = 0.0
        self.answers[outcome] += 1
        self.latencies[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds += seconds

    def begin_holds(self, now: float, woken_at: float | None = None) -> None:
        """Begin to count what is held for a wake, or go on.

        Args:
            now: the time.
            woken_at: when the wake was asked for that is under way, if one is. All who waited for
                it may have left by now, as they waited too long.
        """
        if self.holds and woken_at is not None and self.holds.are_of(woken_at):
            self.holds = self.holds._replace(until=None)
        else:
            self.holds = Holds(since=now)

    def waited(self, seconds: float) -> None:
        """Count a request that is held no more."""
        seconds = max(0.0, seconds)
        self.waiting -= 1
        self.hold_times[bisect_left(HOLD_BOUNDS, seconds)] += 1
        self.hold_seconds += seconds
        if self.holds:
            self.holds = self.holds.waited(seconds)

    def end_holds(self, now: float) -> None:
        """Note that nothing is held any more."""
        if self.holds:
            self.holds = self.holds._replace(until=now)

    def answering(self, now: float) -> None:
        """Note that the answer to a request that was held begins."""
        if self.holds and self.holds.first_byte is None:
            self.holds = self.holds._replace(first_byte=now)

    def lose(self, now: float) -> None:
        """Note that all that is held is lost, as the router that held it is no more."""
        if self.holds:
            self.holds = self.holds._replace(lost=self.holds.lost + self.waiting, until=now)
        self.waiting = 0

    def numbers(self) -> dict[str, Any]:
        """Return all that was counted, as JSON can carry it."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> Self:
        """Return a meter that counted what another one's ``numbers`` tell."""
        meter = cls()
        for name in cls.__slots__:
            setattr(meter, name, numbers[name])
        meter.holds = Holds(*meter.holds) if meter.holds else None
        meter.answers, meter.copies = Counter(meter.answers), Counter(meter.copies)
        return meter

    def add(self, other: "Meter") -> None:
        """Count what another one counted of the same version, too."""
        self.in_flight += other.in_flight
        self.last_request = _later(self.last_request, other.last_request)
        self.last_answer = _later(self.last_answer, other.last_answer)
        self.answers.update(other.answers)
        self.ejections += other.ejections
        self.copies.update(other.copies)
        self.held += other.held
        self.waiting += other.waiting
        self.turned_away = _later(self.turned_away, other.turned_away)
        self.holds = Holds.together(self.holds, other.holds)
        self.hold_times = [
            sum(pair) for pair in zip(self.hold_times, other.hold_times, strict=True)
        ]
        self.hold_seconds += other.hold_seconds
        self.latencies = [sum(pair) for pair in zip(self.latencies, other.latencies, strict=True)]
        self.seconds += other.seconds
        for place, tick in enumerate(other._ticks):  # noqa: SLF001 - of the same class
            if tick > self._ticks[place]:
                self._ticks[place], self._arrivals[place] = tick, 0
            if tick == self._ticks[place]:
                self._arrivals[place] += other._arrivals[place]  # noqa: SLF001 - the same

    def load(self, key: VersionKey, now: float) -> Load:
        """Return the numbers as the controller reads them."""
        return Load(
            key=key,
            in_flight=self.in_flight,
            held=self.waiting,
            turned_away_at=_moment(self.turned_away),
            holds=self.holds.told(self.waiting) if self.holds else None,
            rate=self._recent(now) / (_TICK * _TICKS),
            last_request_at=_moment(self.last_request),
            last_answer_at=_moment(self.last_answer),
        )

    def _recent(self, now: float) -> int:
        """Return how many requests came within the last minute."""
        oldest = int(now) // _TICK - _TICKS
        if max(self._ticks) <= oldest:
            # Most versions sleep, and all of them are asked in each pass.
            return 0
        pairs = zip(self._ticks, self._arrivals, strict=True)
        return sum(count for tick, count in pairs if tick > oldest)


def _later(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
