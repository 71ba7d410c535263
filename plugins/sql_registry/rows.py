"""From rows to domain values, and what to say where there is no row."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select

from longshore.core.errors import NotFound
from longshore.core.names import VersionKey
from longshore.core.types import Model, Placement, Version, VersionRecord, Wish
from longshore.plugins.sql_registry.tables import models, placements, versions


def select_versions() -> Select[Any]:
    """Return the query for complete versions with their models, oldest first."""
    return (
        select(
            versions,
            placements.c.backend,
            placements.c.nodes,
            placements.c.plan,
            models.c.traffic,
            models.c.created_at.label("model_created_at"),
        )
        .join(placements, placements.c.version_id == versions.c.id)
        .join(models, models.c.name == versions.c.model)
        .order_by(versions.c.id)
    )


def of_key(key: VersionKey) -> tuple[Any, Any]:
    """Return the conditions that pick one version."""
    return versions.c.model == key.name, versions.c.version == key.version


def this_version() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of a statement that runs for many versions, each as ``named``."""
    return versions.c.model == bindparam("of_model"), versions.c.version == bindparam("of_version")


def named(key: VersionKey) -> dict[str, object]:
    """Return what ``this_version`` is to mean."""
    return {"of_model": key.name, "of_version": key.version}


def version_id(sql: Connection, key: VersionKey) -> int | None:
    """Return what other tables call the version; None where there is none."""
    return sql.scalar(select(versions.c.id).where(*of_key(key)))


def record(row: Any) -> VersionRecord:
    """Return the version in a row of ``select_versions``."""
    return VersionRecord(
        version=Version(
            key=VersionKey(row.model, row.version),
            spec=row.spec,
            image=row.image,
            serving=row.serving,
            placement=Placement(backend=row.backend, nodes=row.nodes, plan=row.plan),
            created_at=row.created_at,
        ),
        wish=Wish(row.wish),
        pinned=row.pinned,
        collected=row.collected,
        status=row.status,
    )


def as_models(found: Iterable[tuple[Any, VersionRecord]]) -> list[Model]:
    """Return the models of all these versions, by name.

    Args:
        found: rows of ``select_versions``, each with the version in it.
    """
    by_name: dict[str, list[tuple[Any, VersionRecord]]] = {}
    for row, version in found:
        by_name.setdefault(row.model, []).append((row, version))
    return [
        Model(
            name=name,
            traffic=of_model[0][0].traffic,
            created_at=of_model[0][0].model_created_at,
            versions=tuple(version for _, version in of_model),
        )
        # Sorted here: PostgreSQL's order is that of its locale.
        for name, of_model in sorted(by_name.items())
    ]


def no_model(sql: Connection, name: str) -> NotFound:
    """Return the error for a model that is not there."""
    return _not_found("model", name, sql.scalars(select(models.c.name)).all())


def no_version(sql: Connection, key: VersionKey) -> NotFound:
    """Return the error for a version that is not there."""
    keys = select(versions.c.model, versions.c.version).order_by(versions.c.id.desc())
    same_model = sql.execute(keys.where(versions.c.model == key.name)).all()
    found = same_model or sql.execute(keys).all()
    return _not_found("version", str(key), [f"{model}:{version}" for model, version in found])


def _not_found(what: str, name: str, known: Sequence[str]) -> NotFound:
    nearest = difflib.get_close_matches(name, known, n=3)
    if nearest:
        hint = f"Did you mean {' or '.join(nearest)}?"
    elif known:
        hint = "longshore models lists what is registered."
    else:
        hint = "Nothing is registered yet: longshore register NAME VERSION IMAGE"
    return NotFound(f"there is no {what} {name!a}", nearest=nearest, hint=hint)
