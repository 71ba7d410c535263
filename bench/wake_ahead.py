"""What the plugin ``wake_ahead`` gains and costs: ``python -m bench.wake_ahead``.

Lets eight weeks of calls come to a version that sleeps after ten minutes, in simulated time, with
the plugin and without. Calls are made up; what expects them is the plugin itself.
"""

import bisect
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from longshore.core.foresight import EVERY, KEPT, slot_of
from longshore.plugins.wake_ahead import WakeAheadSettings, why_expected

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""
DAYS = 56
DAY = timedelta(days=1)
IDLE = timedelta(minutes=10)
STEP = timedelta(minutes=1)
SATURDAY = 5


def nightly(draw: random.Random) -> Iterator[datetime]:
    """Yield a job at three o'clock each night, give or take two minutes."""
    for day in range(DAYS):
        yield BEGIN + day * DAY + timedelta(hours=3, minutes=draw.uniform(-2, 2))


def office(draw: random.Random) -> Iterator[datetime]:
    """Yield calls on working days from about nine to five, half an hour apart on average."""
    for day in range(DAYS):
        if (BEGIN + day * DAY).weekday() < SATURDAY:
            hour = 9 + draw.uniform(-0.25, 0.25)
            while hour < 17:  # noqa: PLR2004 - five in the afternoon
                yield BEGIN + day * DAY + timedelta(hours=hour)
                hour += draw.expovariate(2)


def at_random(draw: random.Random) -> Iterator[datetime]:
    """Yield six calls a day on average, at any time."""
    hour = draw.expovariate(6 / 24)
    while hour < 24 * DAYS:
        yield BEGIN + timedelta(hours=hour)
        hour += draw.expovariate(6 / 24)


HISTORIES: dict[str, Callable[[random.Random], Iterator[datetime]]] = {
    "each night at 3": nightly,
    "working days, 9 to 17": office,
    "at random, 6 a day": at_random,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a history."""

    waited: int
    """Calls that found the version asleep."""
    awake: float
    """Hours a week."""


def simulate(calls: Sequence[datetime], *, ahead: bool) -> Outcome:
    """Let calls come to a version, minute by minute.

    Args:
        calls: oldest first.
        ahead: whether the plugin is enabled.
    """
    slack = timedelta(minutes=WakeAheadSettings().slack)
    slots = sorted({slot_of(each) for each in calls})
    coming, waited, minutes = list(reversed(calls)), 0, 0
    awake_until = now = BEGIN
    while now < BEGIN + DAYS * DAY:
        # Of a slot that goes on, nobody knows yet whether more comes.
        known = slots[bisect.bisect(slots, now - KEPT) : bisect.bisect(slots, now)]
        zone = ZoneInfo("UTC")
        expected = ahead and known and why_expected(known, now + EVERY, zone=zone, slack=slack)
        if expected:
            awake_until = max(awake_until, now + STEP)
        while coming and coming[-1] < now + STEP:
            call = coming.pop()
            waited += call >= awake_until
            awake_until = max(awake_until, call + IDLE)
        minutes += awake_until > now
        now += STEP
    return Outcome(waited, minutes / 60 * 7 / DAYS)


def main() -> None:
    """Print the table of docs/waking.md."""
    sys.stdout.write(
        "| calls | waited for a wake | with the plugin | awake, hours a week | with the plugin |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
    )
    for name, history in HISTORIES.items():
        calls = list(history(random.Random(7)))  # noqa: S311 - no secret
        plain, ahead = (simulate(calls, ahead=each) for each in (False, True))
        sys.stdout.write(
            f"| {name} | {plain.waited} of {len(calls)} | {ahead.waited} of {len(calls)} "
            f"| {plain.awake:.1f} | {ahead.awake:.1f} |\n"
        )


if __name__ == "__main__":
    main()
