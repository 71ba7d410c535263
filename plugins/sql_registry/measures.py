"""What versions were measured to use, by image and settings; and the plans that follow from it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from longshore.core.measures import Measured, joined
from longshore.core.names import VersionKey
from longshore.core.types import HardwarePlan, Version, Wish
from longshore.plugins.sql_registry.rows import of_key
from longshore.plugins.sql_registry.tables import measures, placements, versions

KEPT = 10_000


def add(sql: Connection, found: Sequence[Measured]) -> None:
    """Join measures to those that are kept, and forget the oldest beyond the bound."""
    for each in found:
        same = measures.c.digest == each.digest, measures.c.settings == each.settings
        kept = sql.execute(select(measures).where(*same)).one_or_none()
        if kept is None:
            sql.execute(insert(measures).values(_row(each)))
        else:
            values = _row(joined(_measured(kept), each))
            sql.execute(update(measures).where(*same).values(values))
    if found:
        newest_out = select(measures.c.last_at).order_by(measures.c.last_at.desc())
        oldest = newest_out.offset(KEPT).limit(1).scalar_subquery()
        sql.execute(delete(measures).where(measures.c.last_at <= oldest))


def read(sql: Connection, digest: str | None) -> Sequence[Measured]:
    """Return those of an image, or all; the newest first."""
    query = select(measures).order_by(measures.c.last_at.desc(), measures.c.settings)
    if digest is not None:
        query = query.where(measures.c.digest == digest)
    return [_measured(row) for row in sql.execute(query)]


def save_plan(sql: Connection, version: Version, plan: HardwarePlan, *, asleep: bool) -> bool:
    """Replace a plan, with the nodes that follow from it."""
    # A number that was registered anew is another version.
    same = [*of_key(version.key), versions.c.created_at == version.created_at]
    if asleep:
        same.append(versions.c.wish != Wish.RUN)
    this = select(versions.c.id).where(*same).scalar_subquery()
    changed = update(placements).where(placements.c.version_id == this)
    return bool(sql.execute(changed.values(plan=plan, nodes=version.placement.nodes)).rowcount)


def _row(each: Measured) -> dict[str, object]:
    named = {name: getattr(each, name) for name in Measured.model_fields if name != "version"}
    return named | {"model": each.version.name, "version": each.version.version}


def _measured(row: Any) -> Measured:
    told = {name: getattr(row, name) for name in Measured.model_fields if name != "version"}
    return Measured(version=VersionKey(row.model, row.version), **told)
