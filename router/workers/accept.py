"""Taking connections from a listening socket that all workers share, one at a time.

The event loop's own server accepts all that wait, so that one worker could take a whole burst and
leave the others idle. Here each turn of the loop takes one: a worker that is busy comes round late,
and an idle one gets the next. A worker that has more connections than another gives way for a
moment, and takes the connection only if nobody else did.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sized

log = logging.getLogger(__name__)

PATIENCE = 0.002
"""Seconds that a worker with more connections leaves the next one to the others."""

OUT_OF_FILES = 1.0
"""Seconds without accepting after the process ran out of file descriptors."""

_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR})
"""The client left before it was accepted."""


class OneByOne:
    """Accepts on one listening socket until it is closed.

    Args:
        loop: the event loop.
        listener: non-blocking; stays the caller's.
        factory: makes the protocol of each connection.
        gives_way: whether another worker should have the next connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        gives_way: Callable[[int], bool],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._factory = factory
        self._gives_way = gives_way
        self._beginning: set[asyncio.Task[object]] = set()
        """Connections that were accepted and are not yet with their protocols."""
        self._waiting: asyncio.TimerHandle | None = None
        self._open = True
        loop.add_reader(listener, self._ready)

    def close(self) -> None:
        """Accept no more; connections that wait are left to the other workers."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)
            if self._waiting:
                self._waiting.cancel()

    async def wait_closed(self) -> None:
        """Wait until every connection that was accepted is with its protocol."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _ready(self) -> None:
        if self._gives_way(len(self._beginning)):
            self._pause(PATIENCE, self._insist)
        else:
            self._accept()

    def _insist(self) -> None:
        self._go_on()
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return  # another worker was faster
        except OSError as error:
            if error.errno not in _GONE:
                log.error("no connection can be accepted now: %s", error.strerror)
                self._pause(OUT_OF_FILES, self._go_on)
            return
        connection.setblocking(False)
        begun = self._loop.create_task(self._begin(connection))
        self._beginning.add(begun)
        begun.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:
            connection.close()  # the client has left

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, then)

    def _go_on(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listener, self._ready)


class Shares:
    """Which worker should have the next connection, from how many each has.

    Args:
        cells: the row that all workers share; see ``counts.CONNECTIONS``.
        column: this worker's.
    """

    def __init__(self, cells: "memoryview[int]", column: int) -> None:
        self._cells = cells
        self._column = column
        self._connections: Sized = ()
        self._acceptors: list[OneByOne] = []
        self._stopped = False

    def acceptor(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        connections: Sized,
    ) -> OneByOne:
        """Accept on a socket, by turns with the other workers.

        Args:
            loop: the event loop.
            listener: non-blocking.
            factory: makes the protocol of each connection.
            connections: those that are open.
        """
        self._connections = connections
        made = OneByOne(loop, listener, factory, self.gives_way)
        self._acceptors.append(made)
        return made

    def tell(self, beginning: int = 0) -> int:
        """Tell the others how many connections this worker has; return that."""
        mine = len(self._connections) + beginning
        self._cells[self._column] = -1 if self._stopped else mine
        return mine

    def stop(self) -> None:
        """Accept no more, and tell the others."""
        for each in self._acceptors:
            each.close()
        self._stopped = True
        self.tell()

    def gives_way(self, beginning: int) -> bool:
        """Return whether another worker has fewer connections.

        Args:
            beginning: how many were accepted and are not counted yet.
        """
        mine = self.tell(beginning)
        return any(0 <= each < mine for each in self._cells)
