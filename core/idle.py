"""When a version goes to sleep, idle for so long, and wakes, kept warm: pure functions.

Idle time counts from the last answer, and never before the first readiness. What this controller
has not seen it takes for demand: after its start, everybody's idle time begins anew.
"""

from datetime import datetime, timedelta

from longshore.core.foresight import Expectation
from longshore.core.quantities import exactly
from longshore.core.types import Load, State, VersionRecord, Wish
from longshore.core.windows import open_at
from longshore.core.wishes import CORE

HEARD = timedelta(seconds=2)
"""By then every router has told what it carries; it does so twice a second."""

SOON = timedelta(minutes=1)
"""Before a time in which it is kept warm, nothing goes to sleep any more."""


LATELY = timedelta(seconds=5)
"""For so long, whoever was turned away counts as waiting: reports are under way for less."""


def asked_for(load: Load, now: datetime) -> bool:
    """Return whether requests wait for a version, or would if not too much waited already.

    Args:
        load: what routers observe of it.
        now: the time of day.
    """
    return bool(load.held) or (
        load.turned_away_at is not None and now - load.turned_away_at < LATELY
    )


def idle_for(
    record: VersionRecord, load: Load, *, started: datetime, now: datetime
) -> timedelta | None:
    """Return for how long nobody has asked a version for anything; None while somebody may.

    Args:
        record: the version, what is wished of it, and what it was found to be.
        load: what routers observe of it.
        started: since when this controller hears of loads.
        now: the time of day.
    """
    if record.wish is not Wish.RUN or record.status.state is not State.READY:
        return None
    if load.in_flight or load.held or now - started < HEARD:
        return None
    return now - max(record.status.since, started, load.last_answer_at or started)


def why_sleep(
    record: VersionRecord,
    load: Load,
    *,
    started: datetime,
    now: datetime,
    expected: Expectation | None = None,
) -> str | None:
    """Return why a version is to go to sleep, one sentence; None if it is to stay awake.

    Args:
        record: the version, what is wished of it, and what it was found to be.
        load: what routers observe of it.
        started: since when this controller hears of loads.
        now: the time of day.
        expected: whether somebody will call it, and why.
    """
    scaling = record.version.spec.scaling
    if scaling.min or not scaling.idle or expected:
        return None
    if open_at(scaling.warm, now) or open_at(scaling.warm, now + SOON):
        return None
    idle = idle_for(record, load, started=started, now=now)
    if idle is None or idle.total_seconds() < scaling.idle:
        return None
    asked = f"nobody asked it for anything for {idle.total_seconds():.0f} s"
    return f"{asked} (idle {exactly(scaling.idle)})"


def why_wake(
    record: VersionRecord,
    *,
    takes: float,
    now: datetime,
    expected: Expectation | None = None,
    obeys: bool = True,
) -> Expectation | None:
    """Return why a version that sleeps is to be awake though nobody calls it; None if it is not to.

    One that a user put to sleep while it was to be awake sleeps until the next such time.

    Args:
        record: the version, what is wished of it, and what it was found to be.
        takes: seconds that its wake should take; it begins so much earlier.
        now: the time of day.
        expected: whether somebody will call it, and why.
        obeys: whether it may have been a user who put it to sleep.
    """
    if record.wish is not Wish.SLEEP or record.status.state is not State.ASLEEP:
        return None

    opening = open_at(record.version.spec.scaling.warm, now + timedelta(seconds=takes))
    warm = opening and Expectation(opening.since, f"it is kept warm {opening.window}", CORE)
    for each in (warm, expected):
        if each and (record.status.since < each.since or not obeys):
            return each
    return None
