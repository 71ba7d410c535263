"""What routers last told of versions; each has a row from its registration on."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, update

from longshore.core.names import VersionKey
from longshore.core.types import Load, utc_now
from longshore.plugins.sql_registry.rows import named, this_version
from longshore.plugins.sql_registry.tables import loads, versions

_COUNTS = ("in_flight", "held", "rate")
_TIMES = (loads.c.last_request_at, loads.c.last_answer_at)
_COLUMNS = (*_COUNTS, *(time.name for time in _TIMES))


def begin(sql: Connection, of_version: int) -> None:
    """Make the row of a version that is registered."""
    sql.execute(insert(loads).values(version_id=of_version, in_flight=0, held=0, rate=0))


def save(sql: Connection, told: Sequence[Load]) -> None:
    """Overwrite loads; times that are not told stay, and versions that are gone are passed over."""
    if not told:
        return
    this = select(versions.c.id).where(*this_version()).scalar_subquery()
    known = {
        time.name: func.coalesce(bindparam(f"new_{time.name}", type_=time.type), time)
        for time in _TIMES
    }
    sql.execute(
        update(loads)
        .where(loads.c.version_id == this)
        .values({name: bindparam(f"new_{name}") for name in _COUNTS})
        .values(saved_at=utc_now(), **known),
        [
            named(load.key) | {f"new_{name}": getattr(load, name) for name in _COLUMNS}
            for load in told
        ],
    )


def read(sql: Connection) -> Mapping[VersionKey, Load]:
    """Return the loads that were saved."""
    found = sql.execute(
        select(loads, versions.c.model, versions.c.version)
        .join(versions)
        .where(loads.c.saved_at.is_not(None))
    )
    return {
        (key := VersionKey(row.model, row.version)): Load(
            key=key, **{name: getattr(row, name) for name in _COLUMNS}
        )
        for row in found
    }
