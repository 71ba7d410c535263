"""The client's connection: decides for each request whether it takes the fast lane or the long way.

uvicorn parses and serves everything by default. This subclass looks at the first bytes of a request
when nothing else is under way on the connection; if they are a whole head of a common prediction
request, and a replica is free for it, uvicorn never sees it. One request at a time is answered on a
connection, in order, whichever way it takes.
"""

import asyncio
import fcntl
import termios
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from longshore.router.lane.lane import Lane
from longshore.router.lane.wire import MOST_REMEMBERED, RequestHead

if TYPE_CHECKING:
    from longshore.router.lane.exchange import Exchange


class LaneProtocol(HttpToolsProtocol):
    """A connection of one client.

    Args:
        lane: shared by all connections.
        options: uvicorn's own.
    """

    def __init__(self, lane: Lane, **options: Any) -> None:
        super().__init__(**options)
        self._lane = lane
        self._exchange: Exchange | None = None
        self._to_come = 0
        """Bytes of the current request's body that the client has not sent yet."""
        self._early = b""
        """What came of the next request before this one was answered."""
        self._in_message = False
        """Whether uvicorn is in the middle of a request."""
        self._replica_is_full = False
        self._known: RequestHead | None = None
        """The last request's head; most of the time the next one is the same, byte by byte."""
        self._idle_since = 0.0
        self.closes = False
        """Whether this connection ends after the answer."""
        self.peer = b"unknown"
        self._defaults: tuple[object, bytes] = (None, b"")

    # --- what the transport tells -------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        if self.client:
            self.peer = self.client[0].encode()

    def data_received(self, data: bytes) -> None:
        """Take the fast lane, or leave it to uvicorn."""
        if self._exchange or self._to_come:
            self._continue(data)
        elif self._early or (self.flow.write_paused and self._is_idle):
            # Its turn has not come, or the client does not read the answers that it has.
            self._hold_early(data)
        elif not self._is_idle or not self._try_lane(data):
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange that nobody waits any more."""
        self.closes = True
        if self._exchange:
            self._exchange.client_left()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Let the replica wait: the client does not keep up."""
        super().pause_writing()
        if self._exchange:
            self._exchange.hold(client_is_full=True)

    def resume_writing(self) -> None:
        """Let the replica go on."""
        super().resume_writing()
        if self._exchange:
            self._exchange.hold(client_is_full=False)
        elif self._early and not self._to_come:
            self._next()

    def shutdown(self) -> None:
        """End the connection, after the answer that is under way."""
        if self._exchange or self._lane.lingers:
            self.linger(over=False)
        else:
            super().shutdown()

    def linger(self, *, over: bool) -> None:
        """End the connection after its next answer; or now, if that is over and nothing comes."""
        self.closes = True
        if self.cycle and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        if over and self._is_idle and not self._has_more:
            self.transport.close()

    @property
    def _has_more(self) -> bool:
        """Whether there is something to do, or the client sent what the loop has not read yet."""
        if self._exchange or self._to_come or self._early or self.transport.is_closing():
            return True
        unread = bytearray(4)
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, unread)
        return any(unread)

    # --- where uvicorn is ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Note that uvicorn reads a request."""
        self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the answer say if it is the last one."""
        super().on_headers_complete()
        if self.closes:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that uvicorn has read it."""
        self._in_message = False
        super().on_message_complete()

    @property
    def _is_idle(self) -> bool:
        return not self._in_message and (self.cycle is None or self.cycle.response_complete)

    # --- the fast lane ------------------------------------------------------------------------

    def _try_lane(self, data: bytes) -> bool:
        head = self._known
        if head is None or not data.startswith(head.raw):
            head = self._lane.read(data)
            if head is None:
                return False
            if len(head.raw) <= MOST_REMEMBERED:
                self._known = head
        exchange = self._lane.admit(head, self)
        if exchange is None:
            return False
        self._exchange = exchange
        body = data[len(head.raw) :]
        if len(body) > head.length:
            self._hold_early(body[head.length :])
            body = body[: head.length]
        self._to_come = head.length - len(body)
        exchange.start(body)
        return True

    def _continue(self, data: bytes) -> None:
        """Take more of the body, and what comes after it."""
        piece, early = data[: self._to_come], data[self._to_come :]
        if early:
            self._hold_early(early)
        if piece:
            self._to_come -= len(piece)
            if self._exchange:
                self._exchange.send(piece)
            elif not self._to_come:
                # It was answered before it had come whole; only now the next one may begin.
                self._next()

    def _hold_early(self, data: bytes) -> None:
        """Keep what came too early, and take no more; so it is bounded by one read."""
        self._early += data
        self._steer_reading()

    def hold(self, *, replica_is_full: bool) -> None:
        """Let the client wait, or go on."""
        self._replica_is_full = replica_is_full
        self._steer_reading()

    def _steer_reading(self) -> None:
        if self._replica_is_full or self._early:
            self.flow.pause_reading()
        elif not self.transport.is_closing():
            self.flow.resume_reading()

    def exchange_ended(self) -> None:
        """Go on with what comes next on this connection."""
        self._exchange = None
        self._replica_is_full = False
        self.server_state.total_requests += 1
        if not self._to_come:
            self._next()

    def _next(self) -> None:
        if self.closes:
            self.transport.close()
            return
        if self.flow.read_paused:
            self._steer_reading()
        if self._early:
            # Not from within the end of the one before: a long pipeline would become a deep stack.
            self.loop.call_soon(self._again)
        else:
            self._idle_since = self._lane.now
            if self.timeout_keep_alive_task is None:
                self._wind_clock(self.timeout_keep_alive)

    def _wind_clock(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """End the connection if it was idle for too long.

        The timer is not set anew for each request: it looks how long it is since the last one.
        """
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or not self._is_idle:
            return
        idle = self.loop.time() - self._idle_since
        if self._exchange or self._to_come or self._early:
            self._wind_clock(self.timeout_keep_alive)
        elif idle < self.timeout_keep_alive:
            self._wind_clock(self.timeout_keep_alive - idle)
        else:
            self.transport.close()

    def _again(self) -> None:
        if self._exchange or self.flow.write_paused or self.transport.is_closing():
            return
        early, self._early = self._early, b""
        self._steer_reading()
        if early:
            self.data_received(early)

    def default_lines(self) -> bytes:
        """Return the header lines that every answer carries, as uvicorn keeps them."""
        current = self.server_state.default_headers
        if self._defaults[0] is not current:
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in current)
            self._defaults = (current, lines)
        return self._defaults[1]
