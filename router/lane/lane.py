"""What all exchanges on the fast lane share: who may take it, connections, and the clock."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING

from longshore.core.errors import LongshoreError
from longshore.router.admission import Slot
from longshore.router.callers import Callers
from longshore.router.errors import Busy, NotReady
from longshore.router.lane.exchange import SWEEP, Exchange
from longshore.router.lane.pool import Pool
from longshore.router.lane.sticky import header_of
from longshore.router.lane.waiting import Waiting
from longshore.router.lane.wire import RequestHead, parse_request
from longshore.router.routed import RoutedVersion
from longshore.router.table import Table

if TYPE_CHECKING:
    from longshore.router.lane.protocol import LaneProtocol

MOST_HOSTS = 64
"""How many Host headers that were found to name us are remembered."""


class Lane:
    """The fast lane of one router.

    Args:
        table: where requests go.
        most: largest body in bytes.
        is_our_host: whether a Host header names this platform; others take the long way, which
            tells them off.
        callers: whom to let in; all others take the long way, which asks who they are. None where
            nobody has to be known.
    """

    def __init__(
        self,
        table: Table,
        *,
        most: int,
        is_our_host: Callable[[str], bool],
        callers: Callers | None,
    ) -> None:
        self.table = table
        self.loop: asyncio.AbstractEventLoop
        self.pool: Pool
        self.now = 0.0
        """The loop's time, as of the last sweep; good enough for time-outs."""
        self.lingers = False
        """Whether connections that are idle when the router stops wait for one more request."""
        self._most = most
        self._is_our_host = is_our_host
        self._callers = callers
        self._our_hosts: set[bytes] = set()
        self._exchanges: set[Exchange] = set()
        self._waiting: set[Waiting] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        # Ids are made of a random part for this process and a number: as unique, and cheaper.
        self._id_prefix = token_hex(8).encode()
        self._id_numbers = count(1)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work in an event loop."""
        self.loop = loop
        self.pool = Pool(loop)

    def close(self) -> None:
        """Close all connections to replicas."""
        if self._sweeping:
            self._sweeping.cancel()
            self._sweeping = None
        for waiting in list(self._waiting):
            waiting.client_left()
        for exchange in list(self._exchanges):
            exchange.client_left()
        self.pool.close()

    def admit(
        self, head: RequestHead, client: "LaneProtocol", size: int
    ) -> Exchange | Waiting | None:
        """Reserve a replica for a request, or let it wait for one that is on its way.

        Args:
            head: the request's.
            client: where it came from.
            size: bytes of it that have come.

        Returns:
            None where there is none, or where the request is to be refused: the long way finds
            the same, and tells it in full.
        """
        if head.length > self._most:
            return None
        stranger = self._callers and not self._callers.knows(head.authorization)
        if stranger or (head.host not in self._our_hosts and not self._ours(head.host)):
            return None
        try:
            if head.version:
                version = self.table.version(head.model, head.version)
            elif self.table.has_shadow(head.model):
                # Its body may have to be held for a copy, which only the long way does.
                return None
            else:
                version = self.table.choose(head.model, partial(header_of, head))
            try:
                slot = Slot(self.table, version)
            except (NotReady, Busy) as why:
                return self.wait(head, client, version, why=why, size=size)
        except LongshoreError:
            return None
        return self.exchange(client, slot, head)

    def exchange(
        self, client: "LaneProtocol", slot: Slot, head: RequestHead, arrived: float | None = None
    ) -> Exchange:
        """Return the exchange for a request that has a slot.

        Args:
            client: where it came from.
            slot: its place on a replica.
            head: the request's.
            arrived: when it came, if it was held and counted by then.
        """
        if self._sweeping is None:
            self._wind_clock()
        exchange = Exchange(self, client, slot, head, arrived)
        self._exchanges.add(exchange)
        return exchange

    def read(self, data: bytes) -> RequestHead | None:
        """Return the head of a request that the lane may take, or None for anything else."""
        return parse_request(data, keyed=self._callers is not None)

    def wait(
        self,
        head: RequestHead,
        client: "LaneProtocol",
        version: RoutedVersion,
        *,
        why: LongshoreError,
        size: int,
        refused: float | None = None,
    ) -> Waiting:
        """Hold a request.

        Args:
            head: the request's.
            client: where it came from.
            version: what it waits for.
            why: why it found no slot.
            size: bytes of it that have come.
            refused: when it came, if every replica refused its connection.

        Raises:
            LongshoreError: it is not to wait.
        """
        waiting = Waiting(self, client, version, head, why=why, size=size, refused_since=refused)
        self._waiting.add(waiting)
        return waiting

    def ended(self, exchange: Exchange | Waiting) -> None:
        """Hear that an exchange is over."""
        if isinstance(exchange, Waiting):
            self._waiting.discard(exchange)
        else:
            self._exchanges.discard(exchange)

    def new_id(self) -> bytes:
        """Return an id for a request that came without one."""
        return b"%b%016x" % (self._id_prefix, next(self._id_numbers))

    def _ours(self, host: bytes) -> bool:
        if not self._is_our_host(host.decode("latin-1").lower()):
            return False
        if len(self._our_hosts) < MOST_HOSTS:
            self._our_hosts.add(host)
        return True

    def _wind_clock(self) -> None:
        self.now = self.loop.time()
        self._sweeping = self.loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._wind_clock()
        for exchange in list(self._exchanges):
            exchange.look_at_clock(self.now)
        self.pool.sweep(self.now)
        if self._sweeping and not (self._exchanges or self.pool):
            self._sweeping.cancel()
            self._sweeping = None
