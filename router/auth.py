"""Who may call: bearer keys where a plugin asks for them, and a fence against foreign web pages.

Without authentication the platform trusts whoever reaches it, which on loopback means every
program of this machine, and among these the user's browser. A web page from anywhere may make
that browser send requests here, in two ways:

- It simply sends one. It cannot read the answer, but a ``DELETE`` would have happened; and through
  a WebSocket it could even read. Browsers put the page's origin into ``Origin``, so a call that
  changes something or offers an upgrade is refused if that is another than the address it came to.
- It lets its own host name resolve to 127.0.0.1 (DNS rebinding), so that for the browser our
  answers are the page's own. The name then stands in ``Host``, so on loopback any name that is
  not loopback's or our own is refused.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from longshore.core.front import Front
from longshore.core.settings import is_loopback
from longshore.router.callers import Callers
from longshore.router.errors import Forbidden, Unauthenticated
from longshore.router.internal import LOADS

OPEN = frozenset({"/", "/healthz", "/readyz", LOADS})
"""What needs no identity: the page, which asks the API for everything, and the probes; and what
has a token of its own."""

STATIC = "/static/"
"""What the page is made of lies there, and needs no identity either."""

_READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Authentication:
    """ASGI middleware that lets through only whom the platform recognises.

    Args:
        app: what to call.
        platform: asked who is calling.
        callers: told who was recognised.
    """

    def __init__(self, app: ASGIApp, platform: Front, callers: Callers) -> None:
        self._app = app
        self._platform = platform
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            Unauthenticated: nobody recognises the caller.
        """
        if scope["type"] == "http" and not is_open(scope["path"]):
            headers = _headers(scope)
            identity = await self._platform.authenticate(headers)
            if identity is None:
                raise Unauthenticated(
                    "the key in the header Authorization is not known"
                    if "authorization" in headers
                    else "the call carries no key",
                    hint="Send the header Authorization: Bearer KEY; the client commands take "
                    "the key from LONGSHORE_API_KEY.",
                )
            scope["state"]["identity"] = identity
            self._callers.remember(headers.get("authorization", "").encode("latin-1"), identity)
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """Return whether a path needs no identity."""
    return path in OPEN or path.startswith(STATIC)


class Fence:
    """ASGI middleware that keeps foreign web pages out where nobody has to say who they are.

    Args:
        app: what to call.
        host: the address that the platform listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host.lower()
        self._on_loopback = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            Forbidden: it could come from a foreign web page.
        """
        if scope["type"] == "http":
            headers = _headers(scope)
            host = headers.get("host", "")
            if self._on_loopback and host and not self._ours(host):
                raise Forbidden(
                    f"the request was sent to the host {host!a}, "
                    "and Longshore listens on this machine only",
                    hint="Call it as http://127.0.0.1 or http://localhost. To be called by "
                    "another name, set api_key and host.",
                )
            origin = headers.get("origin")
            guarded = _changes(scope) or "upgrade" in headers
            if origin is not None and guarded and _authority(origin) != host.lower():
                raise Forbidden(
                    f"a web page of {origin!a} may neither manage this platform "
                    "nor open WebSockets to it",
                    hint="Use Longshore's own page, or set api_key and send the key.",
                )
        await self._app(scope, receive, send)

    def _ours(self, host: str) -> bool:
        return names_us(host, self._host)


def names_us(host: str, listening_on: str) -> bool:
    """Return whether a Host header names a platform that listens on loopback."""
    name = (urlsplit(f"//{host}").hostname or "") if _is_authority(host) else ""
    return is_loopback(name) or name == listening_on.lower()


def _changes(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/api/") and scope["method"] not in _READING


def _authority(origin: str) -> str:
    _, _, authority = origin.lower().partition("://")
    return authority


def _is_authority(host: str) -> bool:
    return not any(each in host for each in "/?#@\\ ")


def _headers(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
