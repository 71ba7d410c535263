"""The crew: as many worker processes as there should be, whatever becomes of one of them."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from longshore.core.errors import StartRefused
from longshore.core.types import Address
from longshore.router.openapi import DocumentedApp
from longshore.router.server import BACKLOG, LINGER, bind, serve_on
from longshore.router.workers.broadcast import Broadcast
from longshore.router.workers.link import first_of
from longshore.router.workers.messages import Assignment
from longshore.router.workers.process import Command, WorkerProcess

log = logging.getLogger(__name__)

SOCKET = "parent.sock"
"""In the state directory: where workers reach the parent."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a worker is started again that failed; they double with each failure."""

LIVED_WELL = 30.0
"""Seconds of service after which earlier failures are forgiven."""

MARGIN = 5.0
"""Seconds that a worker gets on top of the grace before it is killed."""


def columns_for(workers: int) -> int:
    """Return how many can be there at once: those that stop go on while others take over."""
    return workers + min(workers, 8)


class Crew:
    """Starts workers, and starts others for those that end.

    Args:
        workers: how many.
        broadcast: the table that they hear of.
        counts: the file descriptor of the memory that they count in.
        command: starts one.
        grace: seconds that requests in flight get at the end.
    """

    def __init__(
        self, workers: int, broadcast: Broadcast, counts: int, command: Command, grace: int
    ) -> None:
        self._numbers = range(1, workers + 1)
        self._broadcast = broadcast
        self._counts = counts
        self._command = command
        self._grace = grace
        self._columns = set(range(broadcast.counts.columns))
        self._column_free = asyncio.Event()
        self._processes: dict[asyncio.Task[None], WorkerProcess] = {}
        self._listening: dict[int, WorkerProcess] = {}
        self._inherited: list[int] = []

    @property
    def pids(self) -> Mapping[int, int]:
        """The process that takes connections as each worker."""
        return {number: each.pid for number, each in sorted(self._listening.items())}

    @asynccontextmanager
    async def running(self, listeners: list[socket.socket], state: Path) -> AsyncIterator[None]:
        """Let the workers serve while the context is open.

        On leaving, they accept no more and finish what runs, within the grace; cancelled meanwhile,
        they are killed.

        Args:
            listeners: what to accept clients on; closed on leaving.
            state: the directory of the socket on which the parent answers.

        Raises:
            StartRefused: a worker ended before it could serve.
        """
        directory = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._inherited = [directory, self._counts, *(each.fileno() for each in listeners)]
        assignment = Assignment(
            number=0,
            listeners=tuple(each.fileno() for each in listeners),
            link=-1,
            counts=self._counts,
            column=0,
            columns=self._broadcast.counts.columns,
            rest=_short(directory),
        )
        keeping = [asyncio.create_task(self._keep(each, assignment)) for each in self._numbers]
        try:
            await self._begun(keeping)
            yield
        finally:
            # Nobody is to wait for a connection that none of the workers will take.
            for each in listeners:
                each.close()
            for task in keeping:
                task.cancel()
            await asyncio.wait(keeping)
            try:
                await self._stop()
            finally:
                os.close(directory)

    async def _begun(self, keeping: list["asyncio.Task[None]"]) -> None:
        """Wait until all listen.

        Raises:
            StartRefused: one ended instead.
        """
        while len(self._listening) < len(self._numbers):
            done, _ = await asyncio.wait(keeping, timeout=0.02, return_when="FIRST_COMPLETED")
            for task in done:
                task.result()

    async def _keep(self, number: int, assignment: Assignment) -> None:
        """Have one worker serve at all times, as far as that can be."""
        pause, first = FIRST_PAUSE, True
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                process = await self._start(number, assignment)
            except OSError as error:
                log.error("router worker %d cannot be started: %s", number, error.strerror)
                await asyncio.sleep(LONGEST_PAUSE)
                continue
            await first_of(process.listening, process.going)
            if process.listening.is_set():
                self._listening[number] = process
                first = False
                await process.going.wait()
            if process.asked:
                log.info(
                    "router worker %d (process %d) stops; another follows", number, process.pid
                )
                continue
            await process.ended.wait()
            told = f"router worker {number} (process {process.pid}) {process.how()}"
            if first:
                raise StartRefused(
                    f"{told} before it could serve",
                    hint="What it said stands above. To run without workers: --workers 1",
                )
            pause = FIRST_PAUSE if clock() - began > LIVED_WELL else pause
            log.error("%s; it is started again in %g s", told, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _start(self, number: int, assignment: Assignment) -> WorkerProcess:
        while not self._columns:
            self._column_free.clear()
            await self._column_free.wait()
        column = min(self._columns)
        process = WorkerProcess(number, column, self._broadcast)
        given = assignment.model_copy(update={"number": number, "column": column})
        process.start(self._command, given, self._inherited)
        self._columns.remove(column)
        running = asyncio.create_task(process.run(), name=f"router worker {number}")
        self._processes[running] = process
        running.add_done_callback(self._ended)
        return process

    def _ended(self, running: "asyncio.Task[None]") -> None:
        process = self._processes.pop(running)
        self._columns.add(process.column)
        self._column_free.set()
        if self._listening.get(process.number) is process:
            del self._listening[process.number]
        if not running.cancelled() and (error := running.exception()):
            log.error("router worker %d failed", process.number, exc_info=error)
            process.going.set()
            process.ended.set()

    async def _stop(self) -> None:
        for process in self._processes.values():
            process.stop()
        running = list(self._processes)
        try:
            if running:
                await asyncio.wait(running, timeout=self._grace + LINGER + MARGIN)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def serve_with_crew(
    app: DocumentedApp, crew: Crew, host: str, port: int, state: Path
) -> AsyncIterator[Address]:
    """Have workers listen while the context is open, and give the address.

    Args:
        app: what answers all that is no prediction, in this process.
        crew: the workers.
        host: name or address to listen on.
        port: 0 for any free one; the address tells which.
        state: the state directory.

    Raises:
        StartRefused: nobody can listen there, or a worker ended before it could serve.
    """
    listeners = await bind(host, port)
    address = Address(host=host, port=listeners[0].getsockname()[1])
    try:
        private = _listen_privately(state)
        # The workers have ended when this one stops, and with them whoever it would wait for.
        async with serve_on(app, [private], grace=1), crew.running(listeners, state):
            yield address
    finally:
        for each in listeners:
            each.close()
        with contextlib.suppress(OSError):
            (state / SOCKET).unlink()


def _listen_privately(state: Path) -> socket.socket:
    (state / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    directory = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(_short(directory))
        (state / SOCKET).chmod(0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"workers cannot reach this process by a socket in {state}: {error.strerror}",
            hint="Name a state directory on a local file system with --state.",
        ) from error
    finally:
        os.close(directory)
    return listener


def _short(directory: int) -> str:
    """Return a path to the socket that is short enough, however deep the state directory lies."""
    return f"/proc/self/fd/{directory}/{SOCKET}"
