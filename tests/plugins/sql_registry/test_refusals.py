"""Databases that cannot be used, or not now: what the user is told."""

import asyncio
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import examples_of
import pluggy
import pytest
from parts.postgres import Postgres
from sqlalchemy import text

from longshore.core import hookspecs
from longshore.core.errors import StartRefused, Unavailable
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.settings import Settings
from longshore.core.types import Wish
from longshore.plugins.sql_registry import connect
from longshore.plugins.sql_registry.connect import for_writing, make_engine, read_url
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS = VersionKey("iris", "1")
PASSWORD = "hunter2"  # noqa: S105 - to be looked for where it must not be


async def refusal(url: str) -> StartRefused:
    registry = SqlRegistry(url)
    with pytest.raises(StartRefused) as caught:
        await registry.open()
    await registry.close()
    return caught.value


def test_the_plugin_brings_the_registry(tmp_path: Path) -> None:
    (point,) = entry_points(group="longshore.plugins", name="sql_registry")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load()(), name=point.name)
    (answer,) = Hooks(manager).at_start("longshore_registry", settings=Settings(state=tmp_path))
    assert isinstance(answer.value, SqlRegistry)
    # Nothing is touched before it is opened.
    assert list(tmp_path.iterdir()) == []


def test_loading_the_plugin_does_not_load_sqlalchemy() -> None:
    code = (
        "import sys, longshore.plugins.sql_registry as it; it.Plugin(); "
        "print('sqlalchemy' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "False\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"not a url {PASSWORD}", "is no SQLAlchemy URL"),
        (f"postgresql://me:{PASSWORD}@host:port/x", "is no SQLAlchemy URL"),
        (f"mysql://me:{PASSWORD}@host/x", "does not speak 'mysql'"),
        (f"postgresql+asyncpg://me:{PASSWORD}@host/x", "does not speak 'postgresql+asyncpg'"),
        ("sqlite://", "in memory would forget everything"),
        ("sqlite:///:memory:", "in memory would forget everything"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory would forget everything"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    with pytest.raises(StartRefused) as caught:
        SqlRegistry(url)
    assert said in caught.value.message
    assert "sqlite:///FILE" in caught.value.hint
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_missing_driver_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StartRefused, match=r"driver cannot be imported: .*psycopg") as caught:
        SqlRegistry(f"{scheme}://me:{PASSWORD}@host/x")
    assert caught.value.hint == "pip install longshore[postgres]"


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = await refusal(f"sqlite:///{tmp_path}/file/state/longshore.sqlite")
    assert refused.message.endswith("cannot be made: Not a directory")
    assert "longshore up --state DIR" in refused.hint


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "longshore.sqlite").write_text("My holiday notes\n" * 100)
    refused = await refusal(f"sqlite:///{tmp_path}/longshore.sqlite")
    assert refused.message.endswith("cannot be opened: file is not a database")


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    """A directory that an unprivileged user can reach, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="longshore-"))
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.parametrize("exists", [False, True])
def test_a_directory_that_is_read_only_is_refused(
    readable_by_all: Path, start_process: Callable[..., subprocess.Popen[str]], exists: bool
) -> None:
    url = f"sqlite:///{readable_by_all}/longshore.sqlite"
    if exists:
        start_process("open", url).communicate("go\n", timeout=60)
        (readable_by_all / "longshore.sqlite").chmod(0o444)
    readable_by_all.chmod(0o555)
    said, _ = start_process("open unprivileged", url).communicate("go\n", timeout=60)
    ready, message, hint = said.splitlines()
    assert ready == "ready"
    assert f"the SQLite file {readable_by_all}/longshore.sqlite cannot be opened: " in message
    assert "must be writable" in hint


async def test_a_server_that_is_away_is_unavailable_and_the_password_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    # Port 9 of loopback: nobody listens there.
    registry = SqlRegistry(f"postgresql://me:{PASSWORD}@127.0.0.1:9/longshore?password={PASSWORD}")
    for call in (registry.open(), registry.models()):
        with pytest.raises(Unavailable, match=r"'longshore' at 127.0.0.1 .*refused") as caught:
            await call
        assert "LONGSHORE_DATABASE" in caught.value.hint
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    await registry.close()
    assert PASSWORD not in caplog.text


async def test_a_database_that_is_not_there_is_unavailable(postgres: Postgres) -> None:
    registry = SqlRegistry(f"postgresql://longshore@127.0.0.1:{postgres.port}/nowhere")
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'):
        await registry.open()
    await registry.close()


async def test_a_user_that_may_not_make_tables_is_refused(postgres: Postgres) -> None:
    url = postgres.new_database()
    engine = make_engine(read_url(url), threads=1)
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE guest LOGIN"))
    engine.dispose()
    refused = await refusal(url.replace("longshore@", "guest@"))
    assert "cannot be made ready: permission denied for schema public" in refused.message
    assert "allowed to create tables" in refused.hint


async def test_a_server_that_comes_back_is_used_again(postgres: Postgres) -> None:
    # The test server commits carelessly for speed; here its data must outlive it.
    registry = SqlRegistry(postgres.new_database() + "?options=-csynchronous_commit%3Don")
    await registry.open()
    await registry.add_version(examples_of.version(), [])
    await asyncio.to_thread(postgres.stop)
    try:
        for call in (registry.models(), registry.set_wish(IRIS, Wish.SLEEP, "")):
            with pytest.raises(Unavailable, match="refused"):
                await call
    finally:
        await asyncio.to_thread(postgres.start)
    # Not one call is lost to a connection of before.
    await asyncio.gather(*(registry.set_wish(IRIS, Wish.SLEEP, "") for _ in range(8)))
    assert (await registry.version(IRIS)).wish is Wish.SLEEP
    await registry.close()


async def test_a_lock_that_another_holds_too_long_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "WAIT", 1)
    registry = SqlRegistry(url)
    await registry.open()
    await registry.add_version(examples_of.version(), [])
    monkeypatch.setattr(connect, "WAIT", 60)
    other = make_engine(read_url(url), threads=1)
    with for_writing(other).begin():
        monkeypatch.setattr(connect, "WAIT", 1)
        with pytest.raises(Unavailable, match=r"locked|lock timeout"):
            await registry.set_wish(IRIS, Wish.SLEEP, "")
        # Reading goes on.
        assert (await registry.version(IRIS)).wish is Wish.RUN
    await registry.set_wish(IRIS, Wish.SLEEP, "")
    other.dispose()
    await registry.close()


async def test_a_writer_that_stalls_loses_its_lock(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    registry = SqlRegistry(url)
    await registry.open()
    monkeypatch.setattr(connect, "WAIT", 1)
    stalled = make_engine(read_url(url), threads=1)
    connection = for_writing(stalled).connect()
    connection.begin()
    monkeypatch.setattr(connect, "WAIT", 60)
    started = time.monotonic()
    assert await registry.add_version(examples_of.version(), [])
    assert time.monotonic() - started < 10
    connection.invalidate()
    connection.close()
    stalled.dispose()
    await registry.close()


async def test_secrets_in_env_show_neither_in_errors_nor_in_logs(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Statements are logged at this level; each engine asks for it once, when it is made.
    caplog.set_level(logging.INFO, "sqlalchemy.engine")
    registry = SqlRegistry(url)
    await registry.open()
    secret = examples_of.version(env={"TOKEN": PASSWORD})
    await registry.add_version(secret, [])
    await registry.delete_version(IRIS)
    engine = make_engine(read_url(url), threads=1)
    with for_writing(engine).begin() as connection:
        connection.execute(text("ALTER TABLE versions DROP COLUMN wish"))
    engine.dispose()
    with pytest.raises(Unavailable, match="wish") as caught:
        await registry.add_version(secret, [])
    assert "INSERT INTO versions" in caplog.text
    assert PASSWORD not in caplog.text + "".join(traceback.format_exception(caught.value))
    await registry.close()


async def test_a_value_from_the_future_is_named(registry: SqlRegistry, url: str) -> None:
    await registry.add_version(examples_of.version(), [])
    engine = make_engine(read_url(url), threads=1)
    with for_writing(engine).begin() as connection:
        connection.execute(text('UPDATE versions SET status = \'{"mood": "splendid"}\''))
    engine.dispose()
    with pytest.raises(Unavailable, match="holds a VersionStatus that this release cannot read"):
        await registry.models()
