"""The wake ledger: a line for each time that a version was woken, some of the newest of each."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from longshore.core.names import VersionKey
from longshore.core.types import State, VersionStatus, Wake
from longshore.plugins.sql_registry.bounds import keep_newest
from longshore.plugins.sql_registry.rows import of_key, version_id
from longshore.plugins.sql_registry.tables import versions, wakes

KEPT = 1_000
"""Per version."""

_COLUMNS = tuple(name for name in Wake.model_fields if name != "key")


def begin(sql: Connection, of_version: int, asked_at: datetime, reason: str) -> None:
    """Add a line, and forget the oldest of the version beyond the bound."""
    wake = {"version_id": of_version, "asked_at": asked_at, "reason": reason}
    sql.execute(insert(wakes).values(wake))
    keep_newest(sql, wakes, KEPT, wakes.c.version_id == of_version)


def end(sql: Connection, statuses: Mapping[VersionKey, VersionStatus]) -> None:
    """Write when the woken became ready, of those whose statuses say that they are."""
    waking = select(wakes.c.id, wakes.c.asked_at, versions.c.model, versions.c.version)
    still_open = wakes.c.ready_at.is_(None)
    for wake in sql.execute(waking.join(versions).where(still_open)).all():
        status = statuses.get(VersionKey(wake.model, wake.version))
        if status and status.state is State.READY:
            # It may have been ready all the while, if it was woken while going to sleep.
            ready_at = max(status.since, wake.asked_at)
            sql.execute(update(wakes).where(wakes.c.id == wake.id).values(ready_at=ready_at))


def save(sql: Connection, wake: Wake) -> None:
    """Overwrite a line."""
    same = wakes.c.version_id == version_id(sql, wake.key), wakes.c.asked_at == wake.asked_at
    sql.execute(update(wakes).where(*same).values({name: getattr(wake, name) for name in _COLUMNS}))


def read(sql: Connection, key: VersionKey, limit: int) -> Sequence[Wake]:
    """Return the newest lines of a version, oldest first; none of one that is gone."""
    of_version = select(wakes).join(versions).where(*of_key(key))
    found = [
        Wake(key=key, **{name: getattr(row, name) for name in _COLUMNS})
        for row in sql.execute(of_version.order_by(wakes.c.id.desc()).limit(limit))
    ]
    return found[::-1]


def last(sql: Connection) -> Mapping[VersionKey, datetime]:
    """Return when each version was last woken."""
    newest = select(versions.c.model, versions.c.version, func.max(wakes.c.asked_at))
    found = sql.execute(newest.join(wakes).group_by(versions.c.model, versions.c.version))
    return {VersionKey(model, version): asked for model, version, asked in found}


def times(
    sql: Connection, since: datetime | None, limit: int
) -> Mapping[VersionKey, Mapping[datetime, float]]:
    """Return the seconds of each version's newest wakes, by when they were asked for."""
    number = func.row_number().over(partition_by=wakes.c.version_id, order_by=wakes.c.id.desc())
    over = wakes.c.ready_at.is_not(None) if since is None else wakes.c.ready_at >= since
    counted = select(wakes, number.label("number")).where(over).subquery()
    newest = (
        select(versions.c.model, versions.c.version, counted.c.asked_at, counted.c.ready_at)
        .join(counted, counted.c.version_id == versions.c.id)
        .where(counted.c.number <= limit)
        .order_by(counted.c.id)
    )
    found: dict[VersionKey, dict[datetime, float]] = {}
    for row in sql.execute(newest):
        of_version = found.setdefault(VersionKey(row.model, row.version), {})
        of_version[row.asked_at] = max(0.0, (row.ready_at - row.asked_at).total_seconds())
    return found
