"""The relay: streams a request to a replica and the answer back, holding neither.

Both directions have back-pressure: the next piece is read when the last one was taken.
"""

import logging
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from longshore.core.errors import LongshoreError
from longshore.router.admission import Slot
from longshore.router.client import Client, ClientLeft
from longshore.router.headers import to_client, to_replica
from longshore.router.problems import problem_of
from longshore.router.table import RoutedVersion, Table
from longshore.router.upstream import Outgoing, Upstream

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
    ) -> None:
        super().__init__()
        self._table = table
        self._version = version
        self._upstream = upstream
        self._target = target
        self._most = most
        self._strip = frozenset(strip)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one request, and count it.

        Raises:
            RequestError: there is no answer from a replica, and nothing was sent to the client.
        """
        meter, clock = self._version.meter, self._table.clock
        arrived = clock()
        meter.arrived(arrived)
        answer = _ToClient(send)
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
            meter.ended(outcome, arrived, clock())

    async def _exchange(self, scope: Scope, receive: Receive, answer: "_ToClient") -> None:
        headers = scope["headers"]
        hint = "The platform's setting max_body is the limit."
        client = Client(receive, headers, self._most, hint)
        with Slot(self._table, self._version) as slot:
            async with client.attached():
                request = Outgoing(
                    scope["method"],
                    self._target,
                    lambda address: to_replica(
                        headers,
                        host=address,
                        peer=scope["client"][0] if scope["client"] else "",
                        scheme=scope["scheme"],
                        request_id=scope["state"]["request_id"],
                        strip=self._strip,
                    ),
                    await client.body(),
                )
                async with self._upstream.exchange(slot, request) as theirs:
                    await answer.begin(
                        theirs.status,
                        to_client(
                            theirs.headers, status=theirs.status, version=str(self._version.key)
                        ),
                    )
                    async for piece in theirs.body.iter_any():
                        await answer.write(piece)
            await answer.end()


class _ToClient:
    """The answer's way to the client, as ASGI takes it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        """Of the head that was sent; 0 before that."""

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
