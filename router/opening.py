"""Opening connections to one replica: few at a time, for all the requests that wait for one.

A server takes new connections one after the other, and keeps those that it has not taken yet in a
queue, which is short in many a server (5 in Python's own). What comes beyond it is dropped and
tried again by the kernel after a second, then after three. So when many requests are let go at
once, as those are that were held for a version, they line up here. Whoever is first gets the next
connection: one that was just opened, or one whose request was answered meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

C = TypeVar("C")

AT_ONCE = 4
"""Connections that are opened to one replica at a time, by each way of one router process."""

SETTLE = 0.002
"""Seconds for which one that was opened still counts: the replica has yet to take it."""


class Opening(Generic[C]):
    """Those who wait for a connection to one replica, and what is opened for them.

    Args:
        connect: opens a connection.
        give: takes a connection that was opened, or that nobody waits for any more, and calls
            ``take``.
        ended: tells whether a connection ended meanwhile.
        over: called when nobody waits and nothing is opened.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        give: Callable[[C], None],
        ended: Callable[[C], bool],
        over: Callable[[], object],
    ) -> None:
        self._connect = connect
        self._give = give
        self._ended = ended
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._line: deque[asyncio.Future[C]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling = 0
        self._got = 0
        """How many connections were handed over; tells whether the replica takes any."""

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a connection."""
        return any(not turn.done() for turn in self._line)

    async def connection(self) -> C:
        """Wait for a connection.

        Raises:
            TimeoutError: the replica did not take one in time.
            OSError: it refused it.
        """
        while True:
            turn: asyncio.Future[C] = self._loop.create_future()
            self._line.append(turn)
            self._open()
            try:
                connection = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled() and not turn.exception():
                    self._give(turn.result())
                raise
            # It may have ended since.
            if not self._ended(connection):
                return connection

    def take(self, connection: C) -> bool:
        """Hand a connection to the first who waits; return whether somebody does."""
        self._got += 1
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False

    def close(self) -> None:
        """Open no more; nobody waits any more."""
        for turn in self._line:
            turn.cancel()
        self._line.clear()
        for task in self._tasks:
            task.cancel()

    def _open(self) -> None:
        """Open as many connections as may be, and are waited for."""
        while self._line and self._line[0].done():
            self._line.popleft()
        while len(self._tasks) < len(self._line) and len(self._tasks) + self._settling < AT_ONCE:
            task = self._loop.create_task(self._open_one())
            self._tasks.add(task)
            task.add_done_callback(self._opened)
        if not self._line and not self._tasks and not self._settling:
            self._over()

    async def _open_one(self) -> None:
        before = self._got
        try:
            connection = await self._connect()
        except Exception as error:  # noqa: BLE001 - told to those who wait, who know what to do
            # A replica that takes others is only busy, and those who wait have their turn yet.
            if self._got == before:
                self._tell(error)
            return
        self._settling += 1
        self._loop.call_later(SETTLE, self._settled)
        self._give(connection)

    def _tell(self, error: Exception) -> None:
        line, self._line = self._line, deque()
        for turn in line:
            if not turn.done():
                turn.set_exception(error)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._open()

    def _settled(self) -> None:
        self._settling -= 1
        self._open()
