"""All versions, read again and again: values are made anew only of the rows that changed.

Each read reads every row, so that whatever changed, and whoever changed it, is seen. What costs is
not that, but to parse and validate some thousand JSON texts that are what they were.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from longshore.core.types import Model, VersionRecord
from longshore.plugins.sql_registry import rows

_Raw = tuple[object, ...]
"""A row as the database's driver gives it, its first column the id."""


class _Kept(NamedTuple):
    raw: _Raw
    row: Any
    """The same with values instead of texts."""
    record: VersionRecord


class KeptVersions:
    """What the last read of all versions found."""

    def __init__(self) -> None:
        self._kept: dict[object, _Kept] = {}

    def models(self, sql: Connection) -> Sequence[Model]:
        """Read everything, by one query; return all models with their versions, by name."""
        query = rows.select_versions()
        columns = query.selected_columns
        names = columns.keys()
        kinds = [column.type.dialect_impl(sql.dialect) for column in columns]
        makers = [kind.result_processor(sql.dialect, None) for kind in kinds]
        kept, now = self._kept, dict[object, _Kept]()
        for each in sql.exec_driver_sql(str(query.compile(dialect=sql.dialect))):
            raw = tuple(each)
            before = kept.get(raw[0])
            # An id may be given again, to another version.
            now[raw[0]] = before if before and before.raw == raw else _made(raw, names, makers)
        # Of two reads at once, each keeps what it found; a row that differs is made anew.
        self._kept = now
        return rows.as_models((each.row, each.record) for each in now.values())


def _made(raw: _Raw, names: Sequence[str], makers: Sequence[Callable[[Any], Any] | None]) -> _Kept:
    values = (make(value) if make else value for make, value in zip(makers, raw, strict=True))
    row = SimpleNamespace(**dict(zip(names, values, strict=True)))
    return _Kept(raw, row, rows.record(row))
