"""Run by Alembic for each command, on the connection that ``migrate.py`` hands over."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.types import TypeDecorator

from longshore.plugins.sql_registry.migrate import REVISION_TABLE
from longshore.plugins.sql_registry.tables import metadata


def render_type(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Write what the database sees: a migration must not change when our column types do."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=REVISION_TABLE,
    render_item=render_type,
    # SQLite changes a table by copying it; PostgreSQL passes over this.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
