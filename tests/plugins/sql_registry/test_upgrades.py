"""Databases of every age."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import examples_of
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from longshore.core.errors import StartRefused
from longshore.core.names import VersionKey
from longshore.core.types import Decision, Load, TrafficRule, VersionSpec
from longshore.plugins.sql_registry.connect import make_engine, read_url
from longshore.plugins.sql_registry.database import Database
from longshore.plugins.sql_registry.migrate import MIGRATIONS, REVISION_TABLE, draft, revisions
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.plugins.sql_registry.tables import metadata

IRIS = VersionKey("iris", "1")
DECISION = Decision(hook="longshore_plan_hardware", plugin="hardware_plan", outcome="cpu")

KNOWN = max(each.name[1:5] for each in MIGRATIONS.rglob("r0*.py"))
LATER = f"{int(KNOWN) + 1:04}"
"""The newest revision of this release, and that of the next one."""

# What a later release might do; on SQLite this copies the table that all others refer to.
NEXT = """\
    with op.batch_alter_table("versions") as table:
        table.add_column(sa.Column("starred", sa.Boolean(), nullable=True))
        table.alter_column("digest", new_column_name="image_digest")
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The migrations of a release after this one."""
    return next_release(tmp_path / "100% newer", NEXT)


def next_release(directory: Path, change: str) -> Path:
    shutil.copytree(MIGRATIONS, directory, ignore=shutil.ignore_patterns("__pycache__"))
    before = set(directory.rglob("r*.py"))
    draft("star versions", directory)
    (written,) = set(directory.rglob("r*.py")) - before
    draft_text = written.read_text()
    # It is empty, for the migrations so far make what tables.py says.
    assert "    pass\n" in draft_text
    written.write_text(draft_text.replace("    pass\n", change))
    return directory


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The database as it is, without the registry."""
    engine = make_engine(read_url(url), threads=1)
    yield engine
    engine.dispose()


async def upgrade(url: str, migrations: Path) -> None:
    database = Database(url)
    try:
        await database.prepare(migrations)
    finally:
        await database.close()


async def test_the_migrations_make_what_the_tables_say(
    registry: SqlRegistry, engine: Engine
) -> None:
    with engine.begin() as connection:
        options = {"version_table": REVISION_TABLE, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


async def test_an_older_database_is_upgraded_and_keeps_its_data(
    registry: SqlRegistry, url: str, engine: Engine, newer: Path
) -> None:
    await registry.add_version(examples_of.version(), [DECISION])
    await registry.save_loads([Load(key=IRIS, rate=3)])
    installation = await registry.installation()
    await upgrade(url, newer)
    await upgrade(url, newer)
    with engine.begin() as connection:
        assert revisions(connection) == (LATER,)
        row = connection.execute(text("SELECT version, image_digest, starred FROM versions")).one()
        assert row == ("1", "sha256:" + "a" * 64, None)
        assert connection.scalar(text("SELECT count(*) FROM decisions")) == 1
        assert connection.scalar(text("SELECT rate FROM loads")) == 3
        assert connection.scalar(text("SELECT id FROM installation")) == installation
        # What refers to versions still goes with them.
        connection.execute(text("DELETE FROM versions"))
        assert connection.scalar(text("SELECT count(*) FROM decisions")) == 0


async def test_a_traffic_rule_of_the_first_release_is_read(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    shutil.copytree(
        MIGRATIONS, first, ignore=shutil.ignore_patterns("__pycache__", "r000[2-9]*", "r00[1-9]*")
    )
    await upgrade(url, first)
    with engine.begin() as connection:
        assert revisions(connection) == ("0001",)
    new = SqlRegistry(url)
    await new.open()
    await new.add_version(examples_of.version(), [DECISION])
    with engine.begin() as connection:
        connection.execute(text("""UPDATE models SET traffic = '{"weights": {"1": 5}}'"""))
    assert (await new.model("iris")).traffic == TrafficRule(weights={"1": 5})
    await new.close()
    with pytest.raises(StartRefused, match="made by a newer release"):
        await upgrade(url, first)


async def test_a_gpu_that_nobody_asked_for_is_no_wish_for_none(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    later = shutil.ignore_patterns("__pycache__", "r0008*", "r0009*", "r001*")
    shutil.copytree(MIGRATIONS, before, ignore=later)
    await upgrade(url, before)
    asked = {"cpu": "500m", "memory": None}
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO models VALUES ('iris', '{}', '2026-01-01')"),
        )
        for number, gpu in enumerate((0, 2)):
            spec = json.dumps({"image": "x", "resources": {**asked, "gpu": gpu}})
            connection.execute(
                text(
                    "INSERT INTO versions (model, version, digest, spec, image, serving, "
                    "created_at, wish, status) "
                    "VALUES ('iris', :number, '', :spec, '', '', '2026-01-01', 'run', '')"
                ),
                {"number": str(number), "spec": spec},
            )
    await upgrade(url, MIGRATIONS)
    with engine.begin() as connection:
        rows = connection.scalars(text("SELECT spec FROM versions ORDER BY id")).all()
    specs = [VersionSpec.model_validate_json(each) for each in rows]
    assert [each.resources.gpu for each in specs] == [None, 2]
    assert specs[0].resources.cpu == "500m"


async def test_wakes_of_earlier_releases_that_never_came_to_readiness_are_read_as_broken_off(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    later = shutil.ignore_patterns("__pycache__", "r001*")
    shutil.copytree(MIGRATIONS, before, ignore=later)
    await upgrade(url, before)
    noon = "2026-01-01 12:00:%02d.000000"
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO models VALUES ('iris', '{}', '2026-01-01')"))
        for number, wish in (("1", "run"), ("2", "sleep")):
            connection.execute(
                text(
                    "INSERT INTO versions (model, version, digest, spec, image, serving, "
                    "created_at, wish, status) "
                    "VALUES ('iris', :number, '', '', '', '', '2026-01-01', :wish, '')"
                ),
                {"number": number, "wish": wish},
            )
        stored = connection.execute(text("SELECT version, id FROM versions"))
        ids = {row.version: row.id for row in stored}
        # The first one was taken for ready with the second; a third is open, and then a fourth.
        for number, asked, ready in (
            ("1", 0, 35),
            ("1", 30, 35),
            ("1", 40, None),
            ("1", 50, None),
            ("2", 0, None),
        ):
            connection.execute(
                text(
                    "INSERT INTO wakes (version_id, asked_at, ready_at, reason) "
                    "VALUES (:id, :asked, :ready, '')"
                ),
                {
                    "id": ids[number],
                    "asked": noon % asked,
                    "ready": None if ready is None else noon % ready,
                },
            )
    new = SqlRegistry(url)
    await new.open()

    def seconds(moment: datetime | None) -> float | None:
        return (moment - examples_of.NOON).total_seconds() if moment else None

    first = await new.wakes(IRIS)
    ends = [(seconds(each.ready_at), seconds(each.ended_at)) for each in first]
    assert ends == [(None, 30), (35, None), (None, 50), (None, None)]
    assert first[0].why_ended == "an earlier release did not note why"
    [second] = await new.wakes(VersionKey("iris", "2"))
    assert (second.failed, seconds(second.ended_at)) == (False, 0)
    assert await new.open_wakes() == {IRIS: first[-1]}
    assert await new.wake_times() == {IRIS: {first[1].asked_at: 5.0}}
    await new.close()


async def test_a_newer_database_is_refused_and_left_alone(
    url: str, engine: Engine, newer: Path
) -> None:
    await upgrade(url, newer)
    registry = SqlRegistry(url)
    with pytest.raises(StartRefused) as caught:
        await registry.open()
    await registry.close()
    assert caught.value.message == (
        f"the database was made by a newer release of Longshore: it is at revision {LATER}, "
        f"and this release knows up to {KNOWN}"
    )
    assert "pip install --upgrade longshore" in caught.value.hint
    with engine.begin() as connection:
        assert revisions(connection) == (LATER,)


async def test_an_upgrade_that_fails_half_way_changes_nothing(
    registry: SqlRegistry, url: str, engine: Engine, tmp_path: Path
) -> None:
    await registry.add_version(examples_of.version(), [DECISION])
    before = await registry.models()
    broken = next_release(tmp_path / "broken", NEXT + '    raise RuntimeError("half way")\n')
    with pytest.raises(RuntimeError, match="half way"):
        await upgrade(url, broken)
    with engine.begin() as connection:
        assert revisions(connection) == (KNOWN,)
    assert await registry.models() == before
    await registry.open()


async def test_an_upgrade_that_would_orphan_rows_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'longshore.sqlite'}"
    registry = SqlRegistry(url)
    await registry.open()
    await registry.add_version(examples_of.version(), [DECISION])
    orphans = next_release(tmp_path / "orphans", '    op.execute("DELETE FROM models")\n')
    with pytest.raises(StartRefused, match="rows that refer to nothing, first in versions"):
        await upgrade(url, orphans)
    assert len(await registry.models()) == 1
    await registry.close()


async def test_a_database_of_another_application_is_refused(url: str, engine: Engine) -> None:
    await upgrade(url, MIGRATIONS)
    with engine.begin() as connection:
        # As if somebody else had made tables of these names.
        connection.execute(text(f"DROP TABLE {REVISION_TABLE}"))
    with pytest.raises(StartRefused, match="tables of another application: calls, decisions"):
        await upgrade(url, MIGRATIONS)


async def test_another_application_of_alembic_may_share_the_database(
    url: str, engine: Engine
) -> None:
    read = read_url(url)
    if read.database and read.get_backend_name() == "sqlite":
        Path(read.database).parent.mkdir()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    await upgrade(url, MIGRATIONS)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"
