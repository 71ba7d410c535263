"""The wake ledger: a line for each time that a version was woken, some of the newest of each."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from longshore.core.names import VersionKey
from longshore.core.types import State, VersionStatus, Wake
from longshore.plugins.sql_registry.bounds import keep_newest
from longshore.plugins.sql_registry.rows import of_key, version_id
from longshore.plugins.sql_registry.tables import open_wakes, versions, wakes

KEPT = 1_000
"""Per version."""

MOMENT = timedelta(microseconds=1)
"""No two of a version are asked for at the same time, by which they are known."""

_COLUMNS = tuple(name for name in Wake.model_fields if name != "key")
_ENDS = frozenset({"ready_at", "ended_at", "failed", "why_ended"})
"""Columns that are written once."""

_UNDER_WAY = select(wakes, versions.c.model, versions.c.version).join(versions).where(open_wakes)


def begin(sql: Connection, of_version: int, asked_at: datetime, reason: str) -> None:
    """Add a line, and forget the oldest of the version beyond the bound."""
    same = wakes.c.version_id == of_version
    last = sql.execute(select(wakes).where(same).order_by(wakes.c.id.desc()).limit(1)).one_or_none()
    if last:
        # A request that has waited since before the last one ended asks anew with that end.
        ends = [each for each in (last.ready_at, last.ended_at) if each]
        asked_at = max(asked_at, last.asked_at + MOMENT, *ends)
    sql.execute(
        insert(wakes).values({"version_id": of_version, "asked_at": asked_at, "reason": reason})
    )
    keep_newest(sql, wakes, KEPT, same)


def break_off(sql: Connection, of_version: int, at: datetime, why: str) -> None:
    """End the version's open line, if it has one, because it is not to be awake any more."""
    for wake in sql.execute(
        select(wakes).where(wakes.c.version_id == of_version, open_wakes)
    ).all():
        _end(sql, wake.id, ended_at=max(at, wake.asked_at), why_ended=why)


def end(sql: Connection, statuses: Mapping[VersionKey, VersionStatus]) -> None:
    """Write what became of the woken, of those whose statuses say it."""
    for row in sql.execute(_UNDER_WAY).all():
        status = statuses.get(VersionKey(row.model, row.version))
        if status and status.state is State.READY:
            # It may have been ready all the while, if it was woken while going to sleep.
            _end(sql, row.id, ready_at=max(status.since, row.asked_at))
        elif status and status.state is State.FAILED and status.since >= row.asked_at:
            _end(sql, row.id, ended_at=status.since, failed=True, why_ended=status.reason)


def _end(sql: Connection, id_: int, **values: object) -> None:
    sql.execute(update(wakes).where(wakes.c.id == id_).values(values))


def under_way(sql: Connection) -> Mapping[VersionKey, Wake]:
    """Return the open lines: of each version the newest, or none."""
    keyed = ((VersionKey(row.model, row.version), row) for row in sql.execute(_UNDER_WAY))
    return {key: _wake(key, row) for key, row in keyed}


def save(sql: Connection, wake: Wake) -> None:
    """Write how far a wake has come; one that ended stays as it ended."""
    same = wakes.c.version_id == version_id(sql, wake.key), wakes.c.asked_at == wake.asked_at
    seen = {name: getattr(wake, name) for name in _COLUMNS if name not in _ENDS}
    sql.execute(update(wakes).where(*same).values(seen))
    if wake.ready_at:
        sql.execute(update(wakes).where(*same, open_wakes).values(ready_at=wake.ready_at))


def read(sql: Connection, key: VersionKey, limit: int) -> Sequence[Wake]:
    """Return the newest lines of a version, oldest first; none of one that is gone."""
    of_version = select(wakes).join(versions).where(*of_key(key))
    newest = sql.execute(of_version.order_by(wakes.c.id.desc()).limit(limit))
    return [_wake(key, row) for row in newest][::-1]


def _wake(key: VersionKey, row: Any) -> Wake:
    return Wake(key=key, **{name: getattr(row, name) for name in _COLUMNS})


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
