"""Connections to replicas on the long way: aiohttp's, opened a few at a time; see ``opening``."""

import aiohttp
from aiohttp import ClientRequest, ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from longshore.router.opening import Opening


class Connector(aiohttp.TCPConnector):
    """Keeps connections as aiohttp does; those who find none line up for the next one.

    Args:
        keep: seconds that an idle connection is kept.
    """

    def __init__(self, keep: float) -> None:
        super().__init__(limit=0, keepalive_timeout=keep)
        self._openings: dict[ConnectionKey, Opening[Connection]] = {}
        """Where somebody waits for a connection."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp calls it so
    ) -> Connection:
        """Wait for a connection: a kept or a new one, or one that is given back meanwhile.

        ``timeout.sock_connect`` counts from when it is this request's turn.
        """
        key = req.connection_key
        if kept := await self._get(key, traces):
            return kept
        opening = self._openings.get(key)
        if opening is None:
            connect = super().connect
            opening = self._openings[key] = Opening(
                # They are all alike, whichever request has them opened.
                lambda: connect(req, traces, timeout),
                Connection.release,
                _ended,
                lambda: self._openings.pop(key, None),
            )
        return await opening.connection()

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        """Hand a connection that can be used again to the first who waits, or keep it."""
        opening = self._openings.get(key)
        usable = not (self._closed or should_close or protocol.should_close)
        if usable and opening and opening.awaited:
            # As far as aiohttp knows, it was never given back.
            opening.take(Connection(self, key, protocol, self._loop))
        else:
            super()._release(key, protocol, should_close=should_close)

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections, and open no more."""
        for opening in list(self._openings.values()):
            opening.close()
        await super().close(abort_ssl=abort_ssl)


def _ended(connection: Connection) -> bool:
    """Return whether a connection ended; what is left of it then goes."""
    if connection.closed:
        connection.close()
        return True
    return False
