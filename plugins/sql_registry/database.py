"""Transactions in worker threads, and what their failures mean."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from longshore.core.errors import StartRefused, Unavailable
from longshore.plugins.sql_registry import migrate
from longshore.plugins.sql_registry.connect import (
    describe,
    for_writing,
    make_directory,
    make_engine,
    read_url,
)

# As many connections as threads, so that none ever waits for another's.
_THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """One database, spoken to in worker threads of its own.

    The event loop's threads are left alone: a database that is away would fill them, and with
    them name resolution for everybody.

    Args:
        url: SQLAlchemy URL of a SQLite file or a PostgreSQL database.

    Raises:
        StartRefused: the URL cannot be used, or the driver is missing.
    """

    def __init__(self, url: str) -> None:
        self._url = read_url(url)
        self._engine = make_engine(self._url, threads=_THREADS)
        self._writer = for_writing(self._engine)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sql-registry")

    async def prepare(self, migrations: Path = migrate.MIGRATIONS) -> None:
        """Make the database, or upgrade an older one; everything of it or nothing.

        Raises:
            StartRefused: it cannot be made, or was made by a newer release.
            Unavailable: the server cannot be reached.
        """
        await self._in_thread(functools.partial(self._prepare, migrations))

    async def run(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Do the work in one transaction.

        Raises:
            Unavailable: the database cannot be used now; of the transaction nothing happened,
                unless the connection broke while it committed.
        """
        return await self._in_thread(functools.partial(self._run, work, write=write))

    async def close(self) -> None:
        """Wait for running transactions, and let go of all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _run(self, work: Callable[[Connection], T], *, write: bool) -> T:
        try:
            with (self._writer if write else self._engine).begin() as connection:
                return work(connection)
        except (IntegrityError, DataError):
            # These are faults of the program, which waiting would not mend.
            raise
        except DBAPIError as error:
            raise self._unavailable(error) from error
        except ValidationError as error:
            raise Unavailable(
                f"the {describe(self._url)} holds a {error.title} that this release cannot read",
                hint="Was it written by a newer release? Then install that one.",
            ) from error

    def _prepare(self, migrations: Path) -> None:
        make_directory(self._url)
        engine = make_engine(self._url, threads=1, migrating=True)
        try:
            with for_writing(engine).begin() as connection:
                migrate.upgrade(connection, migrations)
        except DBAPIError as error:
            if self._url.get_backend_name() == "sqlite":
                raise StartRefused(
                    f"the {describe(self._url)} cannot be opened: {self._reason(error)}",
                    hint="It and its directory must be writable, and the file be SQLite's. "
                    "Name another directory with longshore up --state DIR.",
                ) from error
            if isinstance(error, ProgrammingError):
                raise StartRefused(
                    f"the {describe(self._url)} cannot be made ready: {self._reason(error)}",
                    hint="The user of the database URL must be allowed to create tables.",
                ) from error
            raise self._unavailable(error) from error
        finally:
            engine.dispose()

    def _unavailable(self, error: DBAPIError) -> Unavailable:
        return Unavailable(
            f"the {describe(self._url)} cannot be used: {self._reason(error)}",
            hint="Longshore goes on by itself as soon as it can. Check that the database runs, and "
            "that the setting database is right ([longshore] in plugins.toml, LONGSHORE_DATABASE).",
        )

    def _reason(self, error: DBAPIError) -> str:
        """Return the driver's words in one line, and never the password."""
        reason = " ".join(str(error.orig).split())
        for secret in (self._url.password, self._url.query.get("password")):
            if secret:
                reason = reason.replace(str(secret), "***")
        return reason


class OnDatabase(Protocol):
    """Something whose methods are transactions."""

    @property
    def database(self) -> Database:
        """Where they happen."""


S = TypeVar("S", bound=OnDatabase)
Transaction = Callable[Concatenate[S, Connection, P], T]
AsyncMethod = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]


def reads(method: Transaction[S, P, T]) -> AsyncMethod[S, P, T]:
    """Make an async method of one that reads through a connection."""
    return _transaction(method, write=False)


def writes(method: Transaction[S, P, T]) -> AsyncMethod[S, P, T]:
    """Make an async method of one that also writes through a connection."""
    return _transaction(method, write=True)


def _transaction(method: Transaction[S, P, T], *, write: bool) -> AsyncMethod[S, P, T]:
    @functools.wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.run(
            lambda connection: method(self, connection, *args, **kwargs), write=write
        )

    return call
