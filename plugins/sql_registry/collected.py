"""What is kept of versions that were collected, and of the images of those that were deleted."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update

from longshore.core.names import VersionKey
from longshore.core.types import Collected, LeftImage, Version, Wish
from longshore.plugins.sql_registry import rows
from longshore.plugins.sql_registry.tables import left_images, versions


def begin(sql: Connection, key: VersionKey, collected: Collected) -> None:
    """Write the wish, and why it is so."""
    changed = update(versions).where(*rows.of_key(key))
    if not sql.execute(changed.values(wish=Wish.COLLECT, collected=collected)).rowcount:
        raise rows.no_version(sql, key)


def keep(sql: Connection, collected: Mapping[VersionKey, Collected]) -> None:
    """Overwrite what is kept of those that still are collected."""
    sql.execute(
        update(versions)
        .where(*rows.this_version(), versions.c.wish == Wish.COLLECT)
        .values(collected=bindparam("now", type_=versions.c.collected.type)),
        [rows.named(key) | {"now": each} for key, each in collected.items()],
    )


def leave(sql: Connection, version: Version) -> None:
    """Remember that a version which is deleted had its image."""
    image = LeftImage(backend=version.placement.backend, reference=version.image.pinned)
    if sql.execute(select(left_images).where(*_this(image))).one_or_none() is None:
        sql.execute(insert(left_images).values(image.model_dump()))


def left(sql: Connection) -> Sequence[LeftImage]:
    """Return what is remembered of deleted versions."""
    found = sql.execute(select(left_images).order_by(*left_images.primary_key))
    return [LeftImage(backend=row.backend, reference=row.reference) for row in found]


def forget(sql: Connection, image: LeftImage) -> None:
    """Remember it no more."""
    sql.execute(delete(left_images).where(*_this(image)))


def _this(image: LeftImage) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return left_images.c.backend == image.backend, left_images.c.reference == image.reference
