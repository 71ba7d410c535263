"""Passing a request on to another process of Longshore, which answers it, streamed both ways.

That process checks keys and limits by itself, so whoever passes on adds nothing but the request's
id, and a mark where nobody is to pass it on any further.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from longshore.core.errors import Unavailable
from longshore.core.leadership import KnowsLeader
from longshore.router.body_limit import HINT
from longshore.router.client import Client, ClientLeft
from longshore.router.headers import PASSED_ON, RawHeaders, from_parent, to_parent
from longshore.router.upstream import header_text

CONNECT_WITHIN = 5.0
"""Seconds to connect to a process, which accepts at once unless it is stuck."""

# Headers that aiohttp would add on its own.
_UNASKED = ("accept", "accept-encoding", "content-type", "user-agent")


class PassingOn:
    """The way to another process; use ``running`` as a context manager while requests come.

    Args:
        most: largest body in bytes.
        connector: makes what connects to it.
        whom: returns its ``host:port``; it may raise ``Unavailable``.
        name: what people call it.
        mark: headers to add.
    """

    def __init__(
        self,
        most: int,
        *,
        connector: Callable[[], aiohttp.BaseConnector],
        whom: Callable[[], str],
        name: str,
        mark: RawHeaders = (),
    ) -> None:
        self._most = most
        self._connector = connector
        self._whom = whom
        self._name = name
        self._mark = mark
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be ready for requests while the context is open."""
        async with aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_UNASKED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN),
        ) as self._session:
            yield
        self._session = None

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the other process answer a request.

        Raises:
            Unavailable: it cannot be reached, and nothing was sent to the client.
            BodyTooLarge: the body is.
        """
        assert self._session is not None  # noqa: S101 - requests come only while it runs
        whom = self._whom()
        headers = [*to_parent(scope["headers"], scope["state"]["request_id"]), *self._mark]
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        started = False
        try:
            client = Client(receive, scope["headers"], self._most, HINT)
            async with (
                client.attached(),
                self._session.request(
                    scope["method"],
                    URL(f"http://{whom}{target.decode('latin-1')}", encoded=True),
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
                    f"{self._name} does not answer: {error or type(error).__name__}",
                    hint="Predictions go on without it. See Longshore's log.",
                ) from error


class Elsewhere:
    """ASGI middleware that lets through what is answered here, and passes on all else.

    Args:
        app: what to call for the former.
        rest: the way to whoever answers the latter.
        is_own: tells the two apart.
    """

    def __init__(self, app: ASGIApp, rest: PassingOn, is_own: Callable[[Scope], bool]) -> None:
        self._app = app
        self._rest = rest
        self._is_own = is_own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or self._is_own(scope):
            await self._app(scope, receive, send)
        else:
            await self._rest.answer(scope, receive, send)


def to_leader(knows: KnowsLeader, most: int) -> PassingOn:
    """Return the way to the controller that leads.

    Args:
        knows: who that is.
        most: largest body in bytes.
    """

    def whom() -> str:
        leader = knows.leader()
        if leader is None:
            raise Unavailable(
                "no controller leads at present, and this process only carries predictions",
                hint="Predictions of models that are ready go on. Check that a longshore "
                "controller runs on the same database; one that died is followed within 15 s.",
            )
        if not leader.address:
            raise Unavailable(
                "the controller that leads does not tell yet where it answers",
                hint="It has only just started. Try again in a second.",
            )
        return leader.address

    return PassingOn(
        most,
        # A connection for each request costs little here, and none is ever found closed.
        connector=lambda: aiohttp.TCPConnector(limit=0, force_close=True),
        whom=whom,
        name="the controller that leads",
        mark=((PASSED_ON, b"1"),),
    )


def was_passed_on(scope: Scope) -> bool:
    """Return whether another process passed this request on already."""
    return any(name == PASSED_ON for name, _ in scope["headers"])
