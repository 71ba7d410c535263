"""What a change of a version's status means to people."""

from collections.abc import Iterable
from datetime import datetime

from longshore.core.types import Event, State, VersionRecord, VersionStatus, Wish


def events_of(record: VersionRecord, after: VersionStatus, now: datetime) -> Iterable[Event]:
    """Return what a change of status means to people.

    Args:
        record: the version, as it was before.
        after: what it was found to be.
        now: the time of day.
    """
    key, before = record.version.key, record.status
    if after.state is before.state:
        return
    if after.state is State.READY:
        ready = "1 replica is" if after.ready == 1 else f"{after.ready} replicas are"
        yield Event(kind="ready", key=key, message=f"{ready} ready", at=now)
    elif after.state is State.FAILED:
        yield Event(kind="failed", key=key, message=after.reason, at=now)
    elif after.state is State.ASLEEP:
        why = "stopped, as it is collected" if record.wish is Wish.COLLECT else "asleep, as wished"
        yield Event(kind="stopped", key=key, message=why, at=now)
    elif before.state is State.READY:
        left = "no replica is ready" if after.replicas else "no replica is left"
        yield Event(kind="unready", key=key, message=after.reason or left, at=now)
    elif after.state in {State.PULLING, State.STARTING} and before.state is not State.PULLING:
        yield Event(kind="started", key=key, message=after.reason or "starting", at=now)
