"""Limits on time and number, looked at for all connections at once.

A timer for each connection would cost more than its requests. So nothing on a request's way notes
the time: what a connection waits for, and a number that changes when that goes on, are looked at
now and then, and whoever shows the same twice has waited since. A limit is therefore kept to within
two looks.
"""

import asyncio
import contextlib
import resource
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from enum import Enum
from typing import Protocol

from longshore.router.edge.limits import EdgeLimits
from longshore.router.edge.refusals import Crowded
from longshore.router.errors import RequestError

EVERY = 0.5
"""Seconds between looks at a connection."""

AT_ONCE = 256
"""Connections that are looked at before other work gets its turn."""

LINGER = 2.0
"""Seconds that a client whose connection is about to end gets to read why."""

RUN_OUT = 30.0
"""Seconds in which a body may go on to come that was answered before its end."""

OTHER_FILES = 64
"""Files that a router has open besides its connections."""

SPARE = 256
"""Connections over the limit that are told so; those beyond are closed without a word."""

_BYTES_ACKED = struct.Struct("@120xQ")
"""Where Linux keeps what the other side confirmed, in the structure tcp_info."""

_TCP_INFO_SIZE = 256


class Stage(Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    RUN_OUT = "the rest of a body that was answered already"
    WORK = "the platform itself, which has limits of its own"
    ANSWER = "the client, which is to take what it asked for"
    TUNNEL = "either end of a tunnel"
    LEAVING = "the client, which was told that this is the end"


class Watched(Protocol):
    """A client's connection, as the watch sees it."""

    def stage(self) -> tuple[Stage, int]:
        """Return what it waits for, and a number that changes whenever that goes on."""

    def late(self, stage: Stage) -> None:
        """Hear that it waited for too long."""


class Watch:
    """Looks after the connections of one process.

    Args:
        limits: what it holds them to.
    """

    def __init__(self, limits: EdgeLimits) -> None:
        self.limits = limits
        # Each may need another one to a replica; running out of them would harm all.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(limits.max_connections, max(files // 2 - OTHER_FILES, 1))
        self._seen: dict[Watched, tuple[Stage, int, float] | None] = {}
        self._peers: Counter[bytes] = Counter()
        self._refused: set[Watched] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._longest = {
            Stage.IDLE: limits.keep_alive,
            Stage.HEAD: limits.head_timeout,
            Stage.BODY: limits.body_timeout,
            Stage.RUN_OUT: RUN_OUT,
            Stage.ANSWER: limits.answer_timeout,
            Stage.TUNNEL: limits.tunnel_idle,
            Stage.LEAVING: LINGER,
        }

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look while the context is open."""
        self._sweeping = asyncio.create_task(self._sweep(), name="watch")
        try:
            yield
        finally:
            self._sweeping.cancel()

    def came(self, connection: Watched, peer: bytes) -> RequestError | None:
        """Count a new connection; return why it is one too many, if it is."""
        most = self._most
        most_each = self.limits.max_connections_per_client
        error: RequestError | None = None
        if len(self._seen) - len(self._refused) >= most:
            setting = "max_connections"
            if most < self.limits.max_connections:
                setting = "max_connections, or half of what ulimit -n allows,"
            error = Crowded("this router has", most, setting)
        elif most_each and self._peers[peer] >= most_each:
            error = Crowded("your address has", most_each, "max_connections_per_client")
        self._seen[connection] = None
        if error:
            self._refused.add(connection)
        else:
            self._peers[peer] += 1
        return error

    @property
    def overrun(self) -> bool:
        """Whether there are too many even to tell them so."""
        return len(self._refused) > SPARE

    def left(self, connection: Watched, peer: bytes) -> None:
        """Hear that a connection ended; if it is not known, return silently."""
        if self._seen.pop(connection, self) is self:
            return
        if connection in self._refused:
            self._refused.remove(connection)
            return
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(EVERY)
            for number, connection in enumerate(list(self._seen), start=1):
                if connection in self._seen:
                    self._look(connection, loop.time())
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _look(self, connection: Watched, now: float) -> None:
        stage, mark = connection.stage()
        before = self._seen[connection]
        if before is None or before[:2] != (stage, mark):
            self._seen[connection] = (stage, mark, now)
            return
        longest = self._longest.get(stage, 0)
        if longest and now - before[2] >= longest:
            connection.late(stage)


def confirmed(transport: asyncio.Transport) -> int:
    """Return how many bytes the other side has confirmed; where nobody counts, what waits."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        if len(info) >= _BYTES_ACKED.size:
            return int(_BYTES_ACKED.unpack_from(info)[0])
    return -transport.get_write_buffer_size()
