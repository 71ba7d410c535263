"""Connections to replicas, kept for the next request as long as both sides like."""

import asyncio
from typing import TYPE_CHECKING, cast

from longshore.router.lane.wire import MOST_REMEMBERED, AnswerHead, parse_answer
from longshore.router.opening import Opening
from longshore.router.routed import Replica
from longshore.router.upstream import IDLE

if TYPE_CHECKING:
    from longshore.router.lane.exchange import Exchange


class Connection(asyncio.Protocol):
    """A connection to one replica; it carries one exchange at a time.

    Args:
        pool: where it waits between exchanges.
        host: the replica's, as it stands in a Host header.
    """

    __slots__ = ("_known", "_pool", "exchange", "host", "idle_since", "is_held", "transport")

    def __init__(self, pool: "Pool", host: bytes) -> None:
        self._pool = pool
        self._known: AnswerHead | None = None
        """The last answer's head; most of the time the next one is the same, byte by byte."""
        self.host = host
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self.is_held = False
        """Whether the replica has to wait with its answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand over a piece of the answer."""
        if self.exchange:
            self.exchange.answered(data)
        else:
            # Nobody asked. Taking it for the answer to the next request would be a disaster.
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange, if there is one, that no more comes."""
        self._pool.forget(self)
        if self.exchange:
            self.exchange.replica_left(exc)

    def pause_writing(self) -> None:
        """Let the client wait: the replica does not keep up with its body."""
        if self.exchange:
            self.exchange.client.hold(replica_is_full=True)

    def resume_writing(self) -> None:
        """Let the client go on."""
        if self.exchange:
            self.exchange.client.hold(replica_is_full=False)

    def head(self, data: bytes) -> AnswerHead | None:
        """Return the head with which an answer begins, or None if it is not complete yet.

        Raises:
            Malformed: it is none.
        """
        known = self._known
        if known and data.startswith(known.raw):
            return known
        head = parse_answer(data)
        if head and len(head.raw) <= MOST_REMEMBERED:
            self._known = head
        return head

    def hold(self, held: bool) -> None:
        """Let the replica wait with its answer, or go on."""
        if held is not self.is_held:
            self.is_held = held
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def close(self) -> None:
        """End it, now; what was not sent yet is dropped."""
        self._pool.forget(self)
        self.transport.abort()


class Pool:
    """The connections that wait for their next request, newest first.

    Args:
        loop: to connect in.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[bytes, list[Connection]] = {}
        self._opening: dict[bytes, Opening[Connection]] = {}
        """Where somebody waits for a connection."""

    def take(self, host: bytes) -> Connection | None:
        """Return a kept connection, if there is one that lives."""
        waiting = self._idle.get(host)
        while waiting:
            connection = waiting.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def connect(self, replica: Replica, within: float) -> Connection:
        """Wait for a connection: a new one, or one that is given back meanwhile.

        Args:
            replica: where to.
            within: seconds that the replica may take to accept one; not counted are those that
                the request waits for its turn, while the replica accepts others.

        Raises:
            TimeoutError: it did not come about in time.
            OSError: the replica refused it.
        """
        host = replica.host
        opening = self._opening.get(host)
        if opening is None:
            opening = self._opening[host] = Opening(
                lambda: self._connect(replica, within),
                lambda connection: self.give(connection, self._loop.time()),
                lambda connection: connection.transport.is_closing(),
                lambda: self._opening.pop(host, None),
            )
        return await opening.connection()

    async def _connect(self, replica: Replica, within: float) -> Connection:
        address = replica.endpoint.address
        async with asyncio.timeout(within):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self, replica.host), address.host, address.port
            )
        return connection

    def give(self, connection: Connection, now: float) -> None:
        """Keep a connection for the next request; the next may wait for it already."""
        connection.idle_since = now
        opening = self._opening.get(connection.host)
        if opening and opening.take(connection):
            return
        waiting = self._idle.get(connection.host)
        if waiting is None:
            self._idle[connection.host] = [connection]
        else:
            waiting.append(connection)

    def forget(self, connection: Connection) -> None:
        """Take a connection out that ended; if it is not in, return silently."""
        waiting = self._idle.get(connection.host)
        if waiting and connection in waiting:
            waiting.remove(connection)

    def sweep(self, now: float) -> None:
        """Close what was idle for too long, before the replica does."""
        for host, waiting in list(self._idle.items()):
            for connection in [each for each in waiting if now - each.idle_since > IDLE]:
                connection.close()
            if not waiting:
                self._idle.pop(host, None)

    def close(self) -> None:
        """Close all that wait, and open no more."""
        for opening in list(self._opening.values()):
            opening.close()
        for waiting in list(self._idle.values()):
            for connection in list(waiting):
                connection.close()
        self._idle.clear()

    def __bool__(self) -> bool:
        return bool(self._idle)
