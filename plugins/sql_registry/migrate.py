"""Bringing a database to this release's tables.

Developers write the next migration with ``python -m longshore.plugins.sql_registry.migrate
"what changes"``, which compares ``tables.py`` with the migrations so far.
"""

import sys
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select

from longshore.core.errors import StartRefused
from longshore.core.types import utc_now
from longshore.plugins.sql_registry.connect import for_writing, make_engine, read_url
from longshore.plugins.sql_registry.tables import installation, metadata

MIGRATIONS = Path(__file__).with_name("migrations")

# Not Alembic's usual name, so that another application in the same database keeps its own.
REVISION_TABLE = "longshore_revision"


def upgrade(connection: Connection, migrations: Path = MIGRATIONS) -> None:
    """Bring the database to the newest revision, within the connection's transaction.

    The transaction must be the only one that writes, and on SQLite foreign keys must be off, or
    rebuilding a table would delete what refers to it.

    Raises:
        StartRefused: the database was made by a newer release, or by another application.
    """
    config = _config(connection, migrations)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    found = revisions(connection)
    newer = set(found) - set(known)
    if newer:
        raise StartRefused(
            f"the database was made by a newer release of Longshore: it is at revision "
            f"{', '.join(sorted(newer))}, and this release knows up to {known[0]}",
            hint="Install the release that made it (pip install --upgrade longshore), or name "
            "another database.",
        )
    if not found:
        _refuse_strangers(connection)
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        _check_references(connection)
    if connection.scalar(select(installation.c.id)) is None:
        connection.execute(insert(installation).values(id=uuid.uuid4().hex, created_at=utc_now()))


def revisions(connection: Connection) -> tuple[str, ...]:
    """Return the revision that a database is at; nothing for a new one."""
    options = {"version_table": REVISION_TABLE}
    return MigrationContext.configure(connection, opts=options).get_current_heads()


def draft(message: str, migrations: Path = MIGRATIONS) -> None:
    """Write a migration from what the migrations so far make to what ``tables.py`` says."""
    with TemporaryDirectory() as directory:
        url = read_url(f"sqlite:///{directory}/draft.sqlite")
        engine = make_engine(url, threads=1, migrating=True)
        with for_writing(engine).begin() as connection:
            config = _config(connection, migrations)
            command.upgrade(config, "head")
            known = ScriptDirectory.from_config(config).walk_revisions()
            # Not their count: releases that were made side by side leave numbers out.
            number = max(int(each.revision) for each in known) + 1
            command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")
        engine.dispose()


def _config(connection: Connection, migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    # Python's own rules for module names: they must not begin with a digit.
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _refuse_strangers(connection: Connection) -> None:
    taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if taken:
        raise StartRefused(
            f"the database has tables of another application: {', '.join(taken)}",
            hint="Give Longshore a database of its own, or on PostgreSQL a schema: "
            "?options=-csearch_path%3Dlongshore",
        )


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise StartRefused(
            f"upgrading the database would leave {len(broken)} rows that refer to nothing, "
            f"first in {broken[0][0]}; nothing was changed",
            hint="Please report this. The release before works on with the database as it is.",
        )


if __name__ == "__main__":
    draft(sys.argv[1])
