"""In which slots of time versions were called."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from longshore.core.names import VersionKey
from longshore.plugins.sql_registry.rows import version_id
from longshore.plugins.sql_registry.tables import calls, versions


def add(sql: Connection, slots: Mapping[VersionKey, datetime], since: datetime) -> None:
    """Keep slots, each once, and forget those from before."""
    for key, slot in slots.items():
        of_version = version_id(sql, key)
        if of_version is None:
            continue
        same = calls.c.version_id == of_version, calls.c.slot == slot
        if sql.scalar(select(calls.c.slot).where(*same)) is None:
            sql.execute(insert(calls).values(version_id=of_version, slot=slot))
    sql.execute(delete(calls).where(calls.c.slot < since))


def read(sql: Connection, since: datetime) -> Mapping[VersionKey, Sequence[datetime]]:
    """Return the slots of each version since then, oldest first."""
    found: dict[VersionKey, list[datetime]] = {}
    rows = sql.execute(
        select(versions.c.model, versions.c.version, calls.c.slot)
        .join(calls, calls.c.version_id == versions.c.id)
        .where(calls.c.slot >= since)
        .order_by(calls.c.slot)
    )
    for row in rows:
        found.setdefault(VersionKey(row.model, row.version), []).append(row.slot)
    return found
