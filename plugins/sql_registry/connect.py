"""From a database URL to an engine on which both databases behave alike.

One writer at a time, on both: SQLite locks the file with ``BEGIN IMMEDIATE``, PostgreSQL takes an
advisory lock. Longshore writes little and never on the request path, so that this costs nothing,
and what is right on the one database cannot race on the other.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from longshore.core.errors import StartRefused

WAIT = 10
"""Seconds that a transaction waits for another's lock."""

_WRITES = "longshore_writes"
_SUPPORTED = (
    "Write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE, "
    "with %40 for @ and %2F for / in a password."
)

# Any number will do, as long as all of Longshore on a database takes the same one.
_WRITER_LOCK = int.from_bytes(b"longshor")

# A server that is away shows within seconds, not after the kernel's hours.
_POSTGRESQL_PATIENCE = {
    "application_name": "longshore",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def read_url(text: str) -> URL:
    """Return where the database is, with the driver chosen.

    Raises:
        StartRefused: it is no URL, or names a database that Longshore does not speak.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Neither the text nor the error is shown: both may hold a part of the password.
        raise StartRefused("the setting database is no SQLAlchemy URL", hint=_SUPPORTED) from None
    if url.drivername in {"postgresql", "postgresql+psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise StartRefused(f"Longshore does not speak {url.drivername!r}", hint=_SUPPORTED)
    if url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory":
        raise StartRefused(
            "a SQLite database in memory would forget everything, and threads cannot share it",
            hint="Give it a file: sqlite:///FILE",
        )
    return url


def describe(url: URL) -> str:
    """Return a few words for people, without the password."""
    if url.get_backend_name() == "sqlite":
        return f"SQLite file {url.database}"
    hosts = url.host or ", ".join(url.normalized_query.get("host", ())) or "the local socket"
    return f"PostgreSQL database {url.database!r} at {hosts}"


def make_engine(url: URL, *, threads: int, migrating: bool = False) -> Engine:
    """Return an engine; nothing is connected yet.

    Args:
        url: as ``read_url`` returned it.
        threads: how many connections it keeps at most.
        migrating: it may make the file and change tables. On SQLite foreign keys are off then,
            because rebuilding a table would delete what refers to it.

    Raises:
        StartRefused: the database's driver is not installed.
    """
    # Parameters hold the secrets of env; they must not show in errors or logs.
    options: dict[str, Any] = {"pool_size": threads, "max_overflow": 0, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": WAIT}, **options)
        _prepare_sqlite(engine, migrating=migrating)
        return engine
    patience = {key: each for key, each in _POSTGRESQL_PATIENCE.items() if key not in url.query}
    try:
        engine = create_engine(
            url,
            connect_args=patience,
            pool_pre_ping=True,
            # A snapshot older than the wait for the writer's lock would be blind to the winner.
            isolation_level="READ COMMITTED",
            **options,
        )
    except ImportError as error:
        raise StartRefused(
            f"the database is PostgreSQL, and its driver cannot be imported: {error}",
            hint="pip install longshore[postgres]",
        ) from error
    _prepare_postgresql(engine)
    return engine


def for_writing(engine: Engine) -> Engine:
    """Return the same engine, whose transactions are the only ones that write."""
    return engine.execution_options(**{_WRITES: True})


def make_directory(url: URL) -> None:
    """Make the directory of a SQLite file.

    Raises:
        StartRefused: it cannot be made.
    """
    if url.get_backend_name() != "sqlite" or (url.database or "").startswith("file:"):
        return
    directory = Path(url.database or "").parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(
            f"the directory of the {describe(url)} cannot be made: {error.strerror}",
            hint="Name a directory that you can write to: longshore up --state DIR",
        ) from error


def _prepare_sqlite(engine: Engine, *, migrating: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        # SQLAlchemy begins transactions, because sqlite3's own idea of it leaves out reads and DDL.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if migrating else 'ON'}")
        if migrating:
            _use_wal(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer pass each other; the file remembers it."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Of several that open a new file at once, SQLite lets only one wait for the lock.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if _writes(connection):
            # The second limit frees the lock of a writer whose process or network stopped.
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = '{WAIT}s'; "
                f"SET LOCAL idle_in_transaction_session_timeout = '{WAIT}s'; "
                f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"
            )


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_WRITES))
