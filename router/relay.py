"""The relay: streams a request to a replica and the answer back, holding neither.

Both directions have back-pressure: the next piece is read when the last one was taken.
"""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from longshore.core.errors import LongshoreError
from longshore.router.client import Client, ClientLeft
from longshore.router.headers import COLD_START, content_length, to_client, to_replica
from longshore.router.problems import problem_of
from longshore.router.routed import RoutedVersion
from longshore.router.table import Table
from longshore.router.upstream import Answer, HeadersFor, Outgoing, Upstream
from longshore.router.waiting import admitted

if TYPE_CHECKING:
    from longshore.router.admission import Slot
    from longshore.router.shadow import Copy

log = logging.getLogger(__name__)

ABORTED = "aborted"


class Relay(Response):
    """An answer that a replica gives.

    Args:
        table: where the version is.
        version: whose replica should answer.
        upstream: the way there.
        target: path and query for the container, percent-encoded.
        most: largest request body in bytes.
        strip: names of request headers that are not for the container.
        copy: of the request, for a shadow.
    """

    def __init__(
        self,
        table: Table,
        version: RoutedVersion,
        upstream: Upstream,
        *,
        target: str,
        most: int,
        strip: Iterable[bytes] = (),
        copy: "Copy | None" = None,
    ) -> None:
        super().__init__()
        self._table = table
        self._version = version
        self._upstream = upstream
        self._target = target
        self._most = most
        self._strip = frozenset(strip)
        self._copy = copy
        self._arrived = 0.0
        self._counted = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one request, and count it.

        Raises:
            RequestError: there is no answer from a replica, and nothing was sent to the client.
        """
        self._arrived = self._table.clock()
        self._version.meter.arrived(self._arrived)
        answer = ToClient(send)
        outcome = ABORTED
        try:
            await self._exchange(scope, receive, answer)
            outcome = f"{answer.status // 100}xx"
        except ClientLeft:
            pass
        except LongshoreError as error:
            if not answer.status:
                outcome = f"{problem_of(error).status // 100}xx"
                raise
            # Its head is on its way. Returning now, without an end of the body, makes the server
            # close the connection, so that the client cannot take the part for the whole.
            log.warning("answer cut off: %s", error.message)
        finally:
            self._count(outcome)
            if self._copy:
                self._copy.close()

    def _count(self, outcome: str) -> None:
        """Count how the request ended; only the first word counts."""
        if not self._counted:
            self._counted = True
            self._version.meter.ended(outcome, self._arrived, self._table.clock())

    async def _exchange(self, scope: Scope, receive: Receive, answer: "ToClient") -> None:
        hint = "The platform's setting max_body is the limit."
        client = Client(receive, scope["headers"], self._most, hint)
        with await admitted(self._table, self._version, client) as slot:
            async with client.attached():
                for_replica, body = headers_for(scope, self._strip), await client.body()
                if self._copy:
                    body = self._copy.watch(body, for_replica, content_length(scope["headers"]))
                request = Outgoing(scope["method"], self._target, for_replica, body)
                async with self._upstream.exchange(slot, request) as theirs:
                    await self._pass_on(theirs, answer, slot)
            await answer.end()

    async def _pass_on(self, theirs: Answer, answer: "ToClient", slot: "Slot") -> None:
        """Pass on all of an answer but its end."""
        headers = self._headers_of(theirs, slot)
        await answer.begin(theirs.status, headers)
        async for piece in theirs.body.iter_any():
            await answer.write(piece)

    def _headers_of(self, theirs: Answer, slot: "Slot") -> list[tuple[bytes, bytes]]:
        """Return an answer's headers for the client."""
        headers = to_client(theirs.headers, status=theirs.status, version=str(self._version.key))
        if slot.held:
            slot.held.answering(self._table.clock())
            headers.append((COLD_START, b"%.3f" % slot.held.waited))
        return headers


def headers_for(scope: Scope, strip: Iterable[bytes]) -> HeadersFor:
    """Return what makes the headers of a request for a replica; it holds on to nothing else of it.

    Args:
        scope: ASGI's.
        strip: names of request headers that are not for the container.
    """
    received, scheme = scope["headers"], scope["scheme"]
    peer = scope["client"][0] if scope["client"] else ""
    request_id = scope["state"]["request_id"]
    return lambda address: to_replica(
        received, host=address, peer=peer, scheme=scheme, request_id=request_id, strip=strip
    )


class ToClient:
    """The answer's way to the client, as ASGI takes it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        """Of the head that was sent; 0 before that."""

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """End the body."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
