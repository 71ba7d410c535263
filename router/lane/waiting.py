"""A request on the fast lane that waits for its version, and becomes an exchange in its turn.

It stands in for the exchange on its client's connection. The beginning of the body stays here as it
was read, and no more of it is read before the turn comes.
"""

from typing import TYPE_CHECKING

from longshore.core.errors import LongshoreError
from longshore.router.lane.exchange import CLASSES, problem_answer
from longshore.router.problems import problem_of
from longshore.router.relay import ABORTED

if TYPE_CHECKING:
    from longshore.router.holding import Held, Outcome
    from longshore.router.lane.lane import Lane
    from longshore.router.lane.protocol import LaneProtocol
    from longshore.router.lane.wire import RequestHead
    from longshore.router.routed import RoutedVersion


MOST_READ = 64 << 10
"""Bytes of a body, or one read of a larger one, that are taken meanwhile: most bodies are shorter,
and only while there is something to read it shows whether the client leaves."""


class Waiting:
    """One request that is held.

    Args:
        lane: what all requests share.
        client: where it came from.
        version: what it waits for.
        head: the request's.
        why: why it found no slot.
        size: bytes of it that have come.
        refused_since: when it came, if every replica refused its connection; it was counted then.

    Raises:
        LongshoreError: it is not to wait.
    """

    __slots__ = ("_arrived", "_client", "_head", "_held", "_lane", "_pieces", "_read", "_version")

    has_begun = False

    def __init__(
        self,
        lane: "Lane",
        client: "LaneProtocol",
        version: "RoutedVersion",
        head: "RequestHead",
        *,
        why: LongshoreError,
        size: int,
        refused_since: float | None = None,
    ) -> None:
        self._lane = lane
        self._client = client
        self._version = version
        self._head = head
        self._pieces: list[bytes] = []
        self._read = 0
        size = max(size, len(head.raw) + min(head.length, MOST_READ))
        self._held: Held = lane.table.holding.enter(
            version, size, self._told, why, refused_since=refused_since
        )
        self._arrived = refused_since or lane.table.clock()
        if refused_since is None:
            version.meter.arrived(self._arrived)

    def start(self, body: bytes) -> None:
        """Keep what came with the head, and take no more than there is room for."""
        self.send(body)

    def send(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        self._pieces.append(piece)
        self._read += len(piece)
        self._client.hold(replica_is_full=MOST_READ <= self._read < self._head.length)

    def hold(self, *, client_is_full: bool) -> None:
        """Hear that the client does not keep up; there is nothing to hold back yet."""

    def client_left(self) -> None:
        """Hear that nobody waits for the answer any more."""
        self._held.leave()
        self._end(ABORTED)

    def _told(self, outcome: "Outcome") -> None:
        if isinstance(outcome, LongshoreError):
            request_id = self._head.request_id or self._lane.new_id()
            self._client.transport.write(problem_answer(self._client, outcome, request_id))
            self._end(CLASSES[problem_of(outcome).status])
            return
        self._lane.ended(self)
        exchange = self._lane.exchange(self._client, outcome, self._head, self._arrived)
        self._client.turned(exchange)
        self._client.hold(replica_is_full=False)
        exchange.start(b"".join(self._pieces))

    def _end(self, outcome: str) -> None:
        lane = self._lane
        self._version.meter.ended(outcome, self._arrived, lane.table.clock())
        lane.ended(self)
        self._client.exchange_ended()
