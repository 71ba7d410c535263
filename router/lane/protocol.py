"""The client's connection: decides for each request whether it takes the fast lane or the long way.

uvicorn parses and serves everything by default. This subclass looks at the first bytes of a request
when nothing else is under way on the connection; if they are a whole head of a common prediction
request, and a replica is free for it, uvicorn never sees it. What takes the long way passes a gate
first, see ``router.edge``. One request at a time is answered on a connection, in order, whichever
way it takes.
"""

import asyncio
import fcntl
import termios
import uuid
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from longshore.router.edge.gate import Gate
from longshore.router.edge.refusals import BadRequest, TooSlow, written
from longshore.router.edge.tunnel import TAKE_OVER, Tunnel
from longshore.router.edge.watch import Stage, Watch, confirmed
from longshore.router.errors import RequestError
from longshore.router.headers import RawHeaders
from longshore.router.lane.lane import Lane
from longshore.router.lane.wire import MOST_REMEMBERED, RequestHead

if TYPE_CHECKING:
    from longshore.router.lane.exchange import Exchange
    from longshore.router.lane.waiting import Waiting


class LaneProtocol(HttpToolsProtocol):
    """A connection of one client.

    Args:
        lane: shared by all connections.
        watch: likewise.
        options: uvicorn's own.
    """

    def __init__(self, lane: Lane, watch: Watch, **options: Any) -> None:
        super().__init__(**options)
        self._lane = lane
        self._watch = watch
        self._gate = Gate(watch.limits)
        self._tunnel: Tunnel | None = None
        self._refusal: RequestError | None = None
        """Why nothing more is taken from this client."""
        self._leaving = False
        """Whether the client was told that this is the end."""
        self._answers = 0
        self._exchange: Exchange | Waiting | None = None
        self._to_come = 0
        """Bytes of the current request's body that the client has not sent yet."""
        self._early = b""
        """What came of the next request before this one was answered."""
        self._trailers = False
        self._replica_is_full = False
        self._known: RequestHead | None = None
        """The last request's head; most of the time the next one is the same, byte by byte."""
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
        self._refusal = self._watch.came(self, self.peer)
        if self._refusal and self._watch.overrun:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take the fast lane, or leave it to uvicorn."""
        if self._exchange or self._to_come:
            self._continue(data)
        elif self._early or (self.flow.write_paused and self._is_idle):
            # Its turn has not come, or the client does not read the answers that it has.
            self._hold_early(data)
        elif not self._is_idle or not self._try_lane(data):
            self._long_way(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange that nobody waits any more."""
        self.closes = True
        self._watch.left(self, self.peer)
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

    # --- the long way -------------------------------------------------------------------------

    def _long_way(self, data: bytes) -> None:
        if self._leaving:
            return
        if not self._gate.within and not self._is_idle:
            # uvicorn forgets a request whose client leaves, if it has heard of the next one.
            self._hold_early(data)
            return
        try:
            if self._refusal:
                raise self._refusal
            passed, early = self._gate.feed(data)
        except RequestError as error:
            self._refuse(error)
            return
        if early:
            self._hold_early(early)
        if passed:
            super().data_received(passed)
        if early and self._is_idle:
            # It was answered before it had come whole; only now the next one may begin.
            self._next()

    def on_message_begin(self) -> None:
        """Offer the connection to endpoints that speak another protocol on it."""
        super().on_message_begin()
        self._trailers = False
        offers: dict[str, Any] = {TAKE_OVER: self.take_over}
        self.scope["extensions"] = offers

    def on_headers_complete(self) -> None:
        """Let the answer say if it is the last one; headers that come from here on are trailers."""
        super().on_headers_complete()
        self._trailers = True
        if self.closes:
            self.cycle.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer must not pass for one (RFC 9110 section 6.5.1)."""
        if not self._trailers:
            # The parser leaves blanks behind a length where they are.
            super().on_header(name, value.rstrip(b" \t"))

    def on_response_complete(self) -> None:
        """Go on with what comes next on this connection."""
        self._answers += 1
        super().on_response_complete()
        # The watch looks after idle connections.
        self._unset_keepalive_if_required()
        if self._early and self._is_idle:
            self._next()

    def send_400_response(self, msg: str) -> None:
        """Refuse what uvicorn's parser does not take."""
        self._refuse(BadRequest(f"the request is not HTTP/1.1: {msg}"))

    @property
    def _is_idle(self) -> bool:
        return not self._gate.within and (self.cycle is None or self.cycle.response_complete)

    @property
    def _has_begun_to_answer(self) -> bool:
        if self._exchange:
            return self._exchange.has_begun
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete

    def _refuse(self, error: RequestError) -> None:
        """Tell the client why, once, and that this is the end of its connection."""
        self._leaving = self.closes = True
        self._refusal, self._known = error, None
        if self._has_begun_to_answer or self.transport.is_closing():
            # Anything said now would pass for a part of the answer.
            self.transport.abort()
            return
        if self.cycle:
            # Its answer must not follow ours.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(
            written(error, request_id=uuid.uuid4().hex, default_lines=self.default_lines())
        )
        if self._exchange:
            self._exchange.client_left()
        # Its own end stays open for a moment: closing on unread bytes would reset the connection,
        # and the client might never read why.
        self._early = b""
        self.transport.write_eof()
        self.flow.resume_reading()

    # --- what the watch asks ------------------------------------------------------------------

    def stage(self) -> tuple[Stage, int]:
        """Return what this connection waits for, and a number that changes when that goes on."""
        answered = self._exchange is None and (self.cycle is None or self.cycle.response_complete)
        stage, mark = Stage.IDLE if answered else Stage.WORK, self._answers
        if self._leaving or self._refusal:
            stage = Stage.LEAVING
        elif self._tunnel:
            stage, mark = Stage.TUNNEL, self._tunnel.moved
        elif self.transport.get_write_buffer_size():
            stage, mark = Stage.ANSWER, confirmed(self.transport)
        elif self._gate.head:
            stage = Stage.HEAD
        elif self._to_come or self._gate.within_body:
            if answered:
                stage = Stage.RUN_OUT
            elif not self.flow.read_paused:
                stage, mark = Stage.BODY, self._gate.taken - self._to_come
        return stage, mark

    def late(self, stage: Stage) -> None:
        """Hear that it waited for too long."""
        limits = self._watch.limits
        match stage:
            case Stage.HEAD:
                self._refuse(
                    TooSlow("the head was not whole within", limits.head_timeout, "head_timeout")
                )
            case Stage.BODY:
                self._refuse(
                    TooSlow(
                        "nothing more of the body came for", limits.body_timeout, "body_timeout"
                    )
                )
            case Stage.IDLE:
                self.transport.close()
            case Stage.TUNNEL if self._tunnel:
                self._tunnel.close()
            case _:
                self.transport.abort()

    # --- tunnels ------------------------------------------------------------------------------

    def take_over(
        self, status: int, headers: RawHeaders, replica: asyncio.Transport, early: bytes
    ) -> Tunnel:
        """Take the connection out of HTTP; see ``edge.tunnel.TakeOver``."""
        # For uvicorn, nobody waits for an answer any more.
        self.cycle.disconnected = True
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(
            b"HTTP/1.1 %d \r\n%b%b\r\n%b" % (status, self.default_lines(), lines, early)
        )
        # What the client has sent behind its request was meant for the replica.
        replica.write(self._early)
        self._early = b""
        self.flow.resume_reading()
        self._tunnel = Tunnel(self.transport, replica, self.connection_lost)
        return self._tunnel

    # --- the fast lane ------------------------------------------------------------------------

    def _try_lane(self, data: bytes) -> bool:
        head = self._known
        if head is None or not data.startswith(head.raw):
            head = self._lane.read(data)
            if head is None or self._refusal or not self._gate.suits_lane(head):
                return False
            if len(head.raw) <= MOST_REMEMBERED:
                self._known = head
        exchange = self._lane.admit(head, self, len(data))
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

    def turned(self, exchange: "Exchange | Waiting") -> None:
        """Hear that the request that waited is under way now, or the other way round."""
        self._exchange = exchange

    def exchange_ended(self) -> None:
        """Go on with what comes next on this connection."""
        self._exchange = None
        self._replica_is_full = False
        self._answers += 1
        self.server_state.total_requests += 1
        if self._to_come:
            # It was answered early, perhaps while the client was to wait; the rest is let go.
            self._steer_reading()
        else:
            self._next()

    def _next(self) -> None:
        if self.closes:
            if not self._leaving:
                self.transport.close()
            return
        if self.flow.read_paused:
            self._steer_reading()
        if self._early:
            # Not from within the end of the one before: a long pipeline would become a deep stack.
            self.loop.call_soon(self._again)

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
