"""Upgrades on ``raw/``: a WebSocket, or any other protocol that begins as HTTP/1.1.

The request passes every layer as any other does, and goes to a replica with its offer to switch. If
the replica takes it, the client's connection and the replica's are joined, and nobody looks into
what travels. Any other answer is relayed as usual.
"""

import asyncio
import contextlib
from typing import Any

from starlette.types import Receive, Scope

from longshore.router.client import Client
from longshore.router.edge.tunnel import TAKE_OVER, TakeOver
from longshore.router.headers import RawHeaders
from longshore.router.relay import Relay, ToClient, headers_for
from longshore.router.upstream import Answer, Outgoing, Switched
from longshore.router.waiting import admitted


class Upgrade(Relay):
    """An answer that a replica gives to a request that offers an upgrade.

    Args:
        within: seconds that a tunnel may be open; 0 for ever.
        options: those of ``Relay``.
    """

    def __init__(self, *args: Any, within: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._within = within or None

    async def _exchange(self, scope: Scope, receive: Receive, answer: ToClient) -> None:
        # What comes behind its head belongs to the tunnel; a body it has none.
        client = Client(receive, (), most=0, hint="")
        offer = [(b"connection", b"Upgrade"), *_upgrade(scope["headers"])]
        with await admitted(self._table, self._version, client) as slot:
            async with client.attached():
                client.listen()
                for_replica = headers_for(scope, self._strip)
                request = Outgoing(
                    scope["method"],
                    self._target,
                    lambda address: [*for_replica(address), *offer],
                    switches=True,
                )
                async with self._upstream.exchange(slot, request) as theirs:
                    if theirs.switched:
                        headers = self._headers_of(theirs, slot)
                        await self._join(scope, theirs, theirs.switched, answer, headers)
                        return
                    await self._pass_on(theirs, answer, slot)
            await answer.end()

    async def _join(
        self,
        scope: Scope,
        theirs: Answer,
        switched: Switched,
        answer: ToClient,
        headers: RawHeaders,
    ) -> None:
        """Join the connections, and wait until one of them ends."""
        take_over: TakeOver = scope["extensions"][TAKE_OVER]
        answer.status = theirs.status
        # The request is answered; that the tunnel is open shows in what is in flight.
        self._count("1xx")
        tunnel = take_over(
            theirs.status,
            [
                *headers,
                (b"connection", b"Upgrade"),
                *_upgrade(theirs.headers),
                (b"x-request-id", scope["state"]["request_id"].encode()),
            ],
            switched.transport,
            switched.early,
        )
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._within):
                    await tunnel.ended.wait()
        except asyncio.CancelledError:
            # The server's grace is over.
            tunnel.abort()
            raise
        tunnel.close()


def _upgrade(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name == b"upgrade"]
