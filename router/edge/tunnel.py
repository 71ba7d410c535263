"""Two connections joined after an upgrade: what comes from one goes to the other, until one ends.

What travels is neither looked at nor held: an end that takes no more stops the reading from the
other one.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from longshore.router.headers import RawHeaders

TAKE_OVER = "longshore.take_over"
"""Under which of an ASGI scope's extensions a ``TakeOver`` is."""

FLUSH = 5.0
"""Seconds that an end gets to take what is still on its way to it, once the other one is gone."""


class TakeOver(Protocol):
    """Takes a client's connection out of HTTP, once."""

    def __call__(
        self, status: int, headers: RawHeaders, replica: asyncio.Transport, early: bytes
    ) -> "Tunnel":
        """Answer the client's request, and join its connection to a replica's.

        Args:
            status: of the answer.
            headers: of the answer, but for those that every answer carries.
            replica: the connection's transport.
            early: what the replica has said behind its answer.
        """


class Tunnel:
    """A tunnel; both transports are its own from now on.

    Args:
        client: the one end.
        replica: the other.
        client_lost: told when the client's connection is gone.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        replica: asyncio.Transport,
        client_lost: Callable[[Exception | None], None],
    ) -> None:
        self.moved = 0
        """Bytes that went either way."""
        self.ended = asyncio.Event()
        self.client = End(self, client, client_lost)
        self.replica = End(self, replica, lambda _: None)
        self.client.other, self.replica.other = self.replica, self.client
        for end in (self.client, self.replica):
            end.transport.set_protocol(end)
            end.transport.resume_reading()

    def close(self) -> None:
        """End it; what is on its way may still arrive."""
        for end in (self.client, self.replica):
            end.close()
        self.ended.set()

    def abort(self) -> None:
        """End it at once."""
        for end in (self.client, self.replica):
            end.transport.abort()
        self.ended.set()


class End(asyncio.Protocol):
    """One end of a tunnel.

    Args:
        tunnel: the whole.
        transport: this end's.
        lost: told when the connection is gone.
    """

    other: "End"

    def __init__(
        self,
        tunnel: Tunnel,
        transport: asyncio.Transport,
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._tunnel = tunnel
        self.transport = transport
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._tunnel.moved += len(data)
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Let the other side wait."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side go on."""
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the tunnel."""
        self._lost(exc)
        self._tunnel.close()

    def close(self) -> None:
        """End this connection; what is on its way to it may still arrive."""
        if not self.transport.is_closing():
            self.transport.close()
            # It may never take it.
            asyncio.get_running_loop().call_later(FLUSH, self.transport.abort)
