"""What a change of a version's status means to people."""

from collections.abc import Iterable
from datetime import datetime

from longshore.core.names import VersionKey
from longshore.core.types import Event, State, VersionStatus


def events_of(
    key: VersionKey, before: VersionStatus, after: VersionStatus, now: datetime
) -> Iterable[Event]:
    """Return what a change of status means to people."""
    if after.state is before.state:
        return
    if after.state is State.READY:
        ready = "1 replica is" if after.ready == 1 else f"{after.ready} replicas are"
        yield Event(kind="ready", key=key, message=f"{ready} ready", at=now)
    elif after.state is State.FAILED:
        yield Event(kind="failed", key=key, message=after.reason, at=now)
    elif after.state is State.ASLEEP:
        yield Event(kind="stopped", key=key, message="asleep, as wished", at=now)
    elif before.state is State.READY:
        left = "no replica is ready" if after.replicas else "no replica is left"
        yield Event(kind="unready", key=key, message=after.reason or left, at=now)
    elif after.state in {State.PULLING, State.STARTING} and before.state is not State.PULLING:
        yield Event(kind="started", key=key, message=after.reason or "starting", at=now)
