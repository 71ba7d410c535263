"""What a worker does not answer itself goes to the parent, streamed both ways.

The parent serves its whole application on a Unix socket that only this user can reach. It checks
keys and limits by itself, so a worker adds nothing but the request's id.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from longshore.core.errors import Unavailable
from longshore.router.body_limit import HINT
from longshore.router.client import Client, ClientLeft
from longshore.router.headers import from_parent, to_parent
from longshore.router.upstream import header_text

CONNECT_WITHIN = 5.0
"""Seconds to connect to the parent, which accepts at once unless it is stuck."""

_OWN = ("/v1/",)
_OWN_PATHS = frozenset({"/v1", "/healthz"})

# Headers that aiohttp would add on its own.
_UNASKED = ("accept", "accept-encoding", "content-type", "user-agent")


class Rest:
    """The way to the parent; use ``running`` as a context manager while the worker serves.

    Args:
        path: of the parent's socket.
        most: largest body in bytes.
    """

    def __init__(self, path: str, most: int) -> None:
        self._path = path
        self._most = most
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be ready for requests while the context is open."""
        # A connection for each request costs little here, and none is ever found closed.
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self._path, limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_UNASKED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN),
        ) as self._session:
            yield
        self._session = None

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the parent answer a request.

        Raises:
            Unavailable: it cannot be reached, and nothing was sent to the client.
            BodyTooLarge: the body is.
        """
        assert self._session is not None  # noqa: S101 - requests come only while it runs
        headers = to_parent(scope["headers"], scope["state"]["request_id"])
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        started = False
        try:
            client = Client(receive, scope["headers"], self._most, HINT)
            async with (
                client.attached(),
                self._session.request(
                    scope["method"],
                    URL(f"http://longshore{target.decode('latin-1')}", encoded=True),
                    headers=[(header_text(name), header_text(value)) for name, value in headers],
                    data=await client.body(),
                    allow_redirects=False,
                ) as theirs,
            ):
                raw = [(name.lower(), value) for name, value in theirs.raw_headers]
                head = {"status": theirs.status, "headers": from_parent(raw)}
                started = True
                await send({"type": "http.response.start", **head})
                async for piece in theirs.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientLeft:
            pass
        except (aiohttp.ClientError, TimeoutError) as error:
            # Once the head is out, an answer without an end is all that can be told.
            if not started:
                raise Unavailable(
                    f"the process that manages the platform does not answer: {error}",
                    hint="Predictions go on without it. See Longshore's log.",
                ) from error


class Elsewhere:
    """ASGI middleware that lets predictions through, and has the parent answer all else.

    Args:
        app: what to call for predictions.
        rest: the way to the parent.
    """

    def __init__(self, app: ASGIApp, rest: Rest) -> None:
        self._app = app
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or _is_own(scope["path"]):
            await self._app(scope, receive, send)
        else:
            await self._rest.answer(scope, receive, send)


def _is_own(path: str) -> bool:
    return path.startswith(_OWN) or path in _OWN_PATHS
