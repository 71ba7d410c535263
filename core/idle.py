"""When a version has been idle for so long that it goes to sleep: a pure function.

Idle time counts from the last answer, and never before the first readiness. What this controller
has not seen it takes for demand: after its start, everybody's idle time begins anew.
"""

from datetime import datetime, timedelta

from longshore.core.types import Load, State, VersionRecord, Wish

HEARD = timedelta(seconds=2)
"""By then every router has told what it carries; it does so twice a second."""


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


def why_sleep(record: VersionRecord, load: Load, *, started: datetime, now: datetime) -> str | None:
    """Return why a version is to go to sleep, one sentence; None if it is to stay awake.

    Args:
        record: the version, what is wished of it, and what it was found to be.
        load: what routers observe of it.
        started: since when this controller hears of loads.
        now: the time of day.
    """
    scaling = record.version.spec.scaling
    if scaling.min or not scaling.idle:
        return None
    idle = idle_for(record, load, started=started, now=now)
    if idle is None or idle.total_seconds() < scaling.idle:
        return None
    return f"nobody asked it for anything for {idle.total_seconds():.0f} s (idle {scaling.idle:g})"
