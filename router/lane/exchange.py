"""One request on the fast lane, and its answer: admission, relay, time-outs, accounting.

Nothing here waits: each method is told what happened (a piece of the body came, a piece of the
answer, a connection ended, time is up), passes on what there is to pass on, and returns.
"""

import logging
from typing import TYPE_CHECKING

from longshore.core.errors import LongshoreError
from longshore.router import ejection
from longshore.router.admission import Slot
from longshore.router.errors import ReplicaFailed, RequestError, TimedOut
from longshore.router.headers import COLD_START
from longshore.router.lane.pool import Connection
from longshore.router.lane.wire import AnswerHead, Chunks, Malformed, RequestHead
from longshore.router.problems import MEDIA_TYPE, problem_of
from longshore.router.relay import ABORTED

if TYPE_CHECKING:
    import asyncio

    from longshore.router.lane.lane import Lane
    from longshore.router.lane.protocol import LaneProtocol

log = logging.getLogger(__name__)

SWEEP = 0.1
"""Seconds between looks at the clock, which are made for all requests at once: a timer for each
would cost more than its relay."""

_FIRST_FINAL = 200
_SWITCHING = 101
CLASSES = {code: f"{code // 100}xx" for code in range(_FIRST_FINAL, 600)}


class Exchange:
    """A request that was admitted to a replica.

    Args:
        lane: what all exchanges share.
        client: where the request came from.
        slot: its place on a replica.
        head: the request's.
        arrived: when it came, if it was held and counted by then.
    """

    __slots__ = (
        "_answer",
        "_arrived",
        "_began",
        "_buffer",
        "_chunks",
        "_cold",
        "_connecting",
        "_connection",
        "_head",
        "_lane",
        "_left",
        "_request_id",
        "_sent_at",
        "_slot",
        "_unsent",
        "_waiting",
        "client",
    )

    def __init__(
        self,
        lane: "Lane",
        client: "LaneProtocol",
        slot: Slot,
        head: RequestHead,
        arrived: float | None = None,
    ) -> None:
        self.client = client
        self._lane = lane
        self._slot = slot
        self._head = head
        self._request_id = head.request_id or lane.new_id()
        self._arrived = arrived or lane.table.clock()
        self._began = lane.now
        self._sent_at: float | None = None
        """When the request's last byte was sent; like ``_began``, only as fine as the sweep."""
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] | None = None
        """Pieces of the body that came before the connection."""
        self._unsent = head.length
        self._answer: AnswerHead | None = None
        self._buffer = b""
        """The part of the answer's head that has come."""
        self._left = 0
        """Bytes of a sized answer that have not come yet; below 0: the replica sent too many."""
        self._chunks: Chunks | None = None
        self._cold = b""
        """The line that tells for how long it was held, if it was."""
        slot.begin()
        if arrived is None:
            slot.version.meter.arrived(self._arrived)
        elif slot.held:
            self._cold = b"%b: %.3f\r\n" % (COLD_START, slot.held.waited)

    # --- the request --------------------------------------------------------------------------

    def start(self, body: bytes) -> None:
        """Send the request with the part of its body that came with the head."""
        connection = self._lane.pool.take(self._slot.replica.host)
        self._unsent -= len(body)
        if connection:
            self._use(connection, body)
        else:
            self._waiting = [body]
            self.client.hold(replica_is_full=True)
            self._connecting = self._lane.loop.create_task(self._connect())

    def send(self, piece: bytes) -> None:
        """Pass on a piece of the request's body."""
        self._unsent -= len(piece)
        if self._waiting is not None:
            self._waiting.append(piece)
        elif self._connection:
            self._connection.transport.write(piece)
            if not self._unsent:
                self._sent_at = self._lane.now

    async def _connect(self) -> None:
        while True:
            version, replica = self._slot.version, self._slot.replica
            try:
                connection = await self._lane.pool.connect(replica, version.limits.connect)
            except (OSError, TimeoutError) as error:
                # Nothing was sent, so another replica may get it.
                if self._slot.move():
                    continue
                self._connecting = None
                self._wait(error)
                return
            body, self._waiting = b"".join(self._waiting or ()), None
            self.client.hold(replica_is_full=False)
            self._use(connection, body)
            return

    def _wait(self, error: Exception) -> None:
        """Leave the request to wait for another replica, or fail if it may not.

        It does so as often as no replica takes it: those that are gone may stay in the table for a
        while, where their engine or the controller is away.
        """
        lane, client, pieces = self._lane, self.client, self._waiting or []
        size = sum(map(len, pieces))
        why = _unreachable(self._slot, error)
        try:
            waiting = lane.wait(
                self._head, client, self._slot.version, why=why, size=size, refused=self._arrived
            )
        except LongshoreError as refusal:
            self._fail(refusal)
            return
        self._slot.end()
        lane.ended(self)
        client.turned(waiting)
        client.hold(replica_is_full=False)
        for piece in pieces:
            waiting.send(piece)

    def _use(self, connection: Connection, body: bytes) -> None:
        self._connection = connection
        connection.exchange = self
        head, slot = self._head, self._slot
        connection.transport.write(
            b"".join(
                (
                    slot.version.request_line,
                    head.target,
                    slot.replica.host,
                    head.lines,
                    self.client.peer,
                    b"\r\nx-request-id: ",
                    self._request_id,
                    b"\r\n\r\n",
                    body,
                )
            )
        )
        if not self._unsent:
            self._sent_at = self._lane.now

    # --- the answer ---------------------------------------------------------------------------

    def answered(self, data: bytes) -> None:
        """Pass on a piece of the answer."""
        try:
            if self._answer:
                piece, ended = self._take(data)
                self.client.transport.write(piece)
            else:
                ended = self._begin(self._buffer + data if self._buffer else data)
        except Malformed as error:
            what = "died in the middle of its answer" if self._answer else "answered nonsense"
            self._fail(self._failure(f"{what}: {error}"))
            return
        if ended:
            self._finish(CLASSES[self._status])

    def replica_left(self, error: Exception | None) -> None:
        """Hear that the replica's connection ended: the answer's end, or its death."""
        if self._answer and self._until_close and error is None:
            self.client.transport.write(b"0\r\n\r\n")
            self._finish(CLASSES[self._status])
        else:
            what = "died in the middle of its answer" if self._answer else "died before its answer"
            self._fail(self._failure(f"{what}: {error}" if error else what))

    def hold(self, *, client_is_full: bool) -> None:
        """Let the replica wait, or go on."""
        if self._connection:
            self._connection.hold(client_is_full)

    @property
    def has_begun(self) -> bool:
        """Whether the client has heard anything of the answer."""
        return self._answer is not None

    @property
    def _status(self) -> int:
        return self._answer.status if self._answer else 0

    @property
    def _until_close(self) -> bool:
        answer = self._answer
        return answer is not None and not answer.chunked and answer.length is None

    def _begin(self, data: bytes) -> bool:
        """Pass on the head and what came with it; return whether that was all."""
        assert self._connection is not None  # noqa: S101 - it is where the data came from
        head = self._connection.head(data)
        if head is None:
            self._buffer = data
            return False
        rest = data[len(head.raw) :]
        if head.status < _FIRST_FINAL:
            if head.status == _SWITCHING:
                raise Malformed("it switched protocols unasked")
            # An interim answer; the client did not ask for one.
            self._buffer = b""
            return self._begin(rest)
        self._answer = head
        if head.chunked:
            self._chunks = Chunks()
        elif head.length is not None:
            self._left = head.length
        piece, ended = self._take(rest)
        client = self.client
        if self._cold and self._slot.held:
            self._slot.held.answering(self._lane.table.clock())
        client.transport.write(
            b"".join(
                (
                    head.status_line,
                    client.default_lines(),
                    head.lines,
                    self._cold,
                    self._slot.version.label_line,
                    self._request_id,
                    b"\r\nconnection: close\r\n\r\n" if client.closes else b"\r\n\r\n",
                    piece,
                )
            )
        )
        return ended

    def _take(self, data: bytes) -> tuple[bytes, bool]:
        """Return what of this piece belongs to the body, framed, and whether it ends with it."""
        if self._chunks:
            end = self._chunks.feed(data)
            if end < 0:
                return data, False
            self._left = end - len(data)
            return data[:end], True
        if self._until_close:
            # The client's connection goes on, so it gets chunks.
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b"", False
        left = self._left
        self._left = left - len(data)
        return (data if self._left >= 0 else data[:left]), self._left <= 0

    # --- the end ------------------------------------------------------------------------------

    def client_left(self) -> None:
        """Hear that nobody waits for the answer any more."""
        self._finish(ABORTED)

    def look_at_clock(self, now: float) -> None:
        """Fail if time is up."""
        limits = self._slot.version.limits
        # What was noted is older than what happened by up to one sweep.
        if now - self._began > limits.total + SWEEP:
            self._fail(TimedOut(self._slot.version.key, "total", limits.total))
        elif (
            self._answer is None
            and self._sent_at is not None
            and now - self._sent_at > limits.first_byte + SWEEP
        ):
            self._slot.failed()
            self._fail(TimedOut(self._slot.version.key, "first byte", limits.first_byte))

    def _failure(self, what: str) -> ReplicaFailed:
        self._slot.failed()
        return ReplicaFailed(self._slot.version.key, self._slot.replica.endpoint.replica, what)

    def _fail(self, error: LongshoreError) -> None:
        if self._answer:
            # Its head is out: only a connection that breaks can tell that this is not all of it.
            log.warning("answer cut off: %s", error.message)
            self._finish(ABORTED)
            self.client.transport.abort()
            return
        self.client.transport.write(problem_answer(self.client, error, self._request_id))
        self._finish(CLASSES[problem_of(error).status])

    def _finish(self, outcome: str) -> None:
        """Give everything back; the exchange is not used any more."""
        lane, connection, answer = self._lane, self._connection, self._answer
        if connection:
            connection.exchange = None
            whole = outcome is not ABORTED and answer is not None and not self._unsent
            if whole and self._slot.replica.failures:
                ejection.answered(self._slot.replica)
            if whole and answer and answer.keeps and not self._left:
                connection.hold(False)
                lane.pool.give(connection, lane.now)
            else:
                connection.close()
        elif self._connecting:
            self._connecting.cancel()
        self._slot.end()
        self._slot.version.meter.ended(outcome, self._arrived, lane.table.clock())
        lane.ended(self)
        self.client.exchange_ended()


def _unreachable(slot: Slot, error: Exception) -> RequestError:
    version = slot.version
    if isinstance(error, TimeoutError):
        return TimedOut(version.key, "connect", version.limits.connect)
    replica = slot.replica.endpoint.replica
    return ReplicaFailed(version.key, replica, f"refused the connection: {error}", sent=False)


def problem_answer(client: "LaneProtocol", error: LongshoreError, request_id: bytes) -> bytes:
    """Return the answer that tells a client why there is no other."""
    problem = problem_of(error)
    body = problem.body(request_id.decode())
    own = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
    return b"".join(
        (
            b"HTTP/1.1 %d \r\n" % problem.status,
            client.default_lines(),
            b"content-type: %b\r\n" % MEDIA_TYPE.encode(),
            b"content-length: %d\r\n" % len(body),
            own.encode(),
            b"x-request-id: ",
            request_id,
            b"\r\nconnection: close\r\n\r\n" if client.closes else b"\r\n\r\n",
            body,
        )
    )
