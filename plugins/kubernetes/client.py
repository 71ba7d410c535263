"""The Kubernetes API as the rest of the plugin needs it: plain objects in, plain objects out.

Built on the official client's asyncio half, which brings kubeconfig files, credentials and TLS.
Its generated models are left aside: they drop what a newer API server adds, and cost more than the
rest of the watching together.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from longshore.core.errors import Unavailable
from longshore.plugins.kubernetes.kinds import Json, Kind

log = logging.getLogger(__name__)

FIELD_MANAGER = "longshore"
"""Owns the fields that we apply; what others own, we leave alone."""

SCALE_MANAGER = "longshore-scale"
"""Owns the number of replicas, where no autoscaler does: it is never part of what is applied."""

REQUEST_TIMEOUT = 15.0
STREAM_TIMEOUT = 100.0
"""Seconds of silence after which a stream counts as dead; bookmarks come every minute."""

LAST_TURNS = 3

RELOAD_AFTER = 10.0
"""Seconds between two looks for newer credentials."""

_GONE = 404
_UNAUTHORISED = 401
_BUSY = 429
_INTERNAL = 500


class ApiError(Exception):
    """The API server refused a request.

    Args:
        status: of HTTP.
        reason: its word for it: ``"Forbidden"``, ``"Invalid"``.
        message: its sentence.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class _Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    content_type: str = "application/json"
    timeout: aiohttp.ClientTimeout = field(
        default_factory=lambda: aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
    )


class Client:
    """Talks to one API server.

    Args:
        load: reads the credentials and makes an ``ApiClient`` of the official library, which is
            not typed where it is used here; called again when the API server knows them no more.
        namespace: where everything is that these calls name.
    """

    def __init__(self, load: Callable[[], Awaitable[Any]], namespace: str) -> None:
        self.namespace = namespace
        self._load = load
        self._api: Any = None
        self._streams: set[aiohttp.ClientResponse] = set()
        self._loaded_at = 0.0
        self._loading = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        api, self._api = self._api, None
        if api:
            await api.close()
            # The transports end in the next turns of the loop, which may be its last.
            for _ in range(LAST_TURNS):
                await asyncio.sleep(0)

    @property
    def host(self) -> str:
        """Where the API server is, for people."""
        return str(self._api.configuration.host) if self._api else "nowhere yet"

    def path(self, kind: Kind, name: str = "", sub: str = "") -> str:
        """Return the path of a collection, of an object in it, or of a part of that."""
        inside = f"/namespaces/{self.namespace}" if kind.namespaced else ""
        parts = [f"/{kind.api}{inside}/{kind.plural}", name, sub]
        return "/".join(part for part in parts if part)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Return what is there.

        Raises:
            ApiError: the API server refuses, or there is nothing.
            Unavailable: it does not answer.
        """
        return await self._call(_Call("GET", path, query or {}))

    async def apply(self, kind: Kind, manifest: Json) -> Json:
        """Create or change an object by server-side apply, as the owner of what it says."""
        path = self.path(kind, manifest["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        content = "application/apply-patch+yaml"
        return await self._call(_Call("PATCH", path, query, manifest, content))

    async def patch(self, path: str, change: Json, manager: str = FIELD_MANAGER) -> Json:
        """Change a part of an object."""
        query, content = {"fieldManager": manager}, "application/merge-patch+json"
        return await self._call(_Call("PATCH", path, query, change, content))

    async def create(self, kind: Kind, manifest: Json) -> Json:
        """Create an object."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call(_Call("POST", self.path(kind), query, manifest))

    async def delete(self, kind: Kind, name: str, options: Json | None = None) -> None:
        """Delete an object and, in the background, what it owns; if it is gone, be silent."""
        options = {"propagationPolicy": "Background", **(options or {})}
        try:
            await self._call(_Call("DELETE", self.path(kind, name), body=options))
        except ApiError as error:
            if error.status != _GONE:
                raise

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield an iterator over the lines of an answer that may go on for long.

        The iterator raises ``Unavailable`` where the connection breaks off.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT, sock_read=STREAM_TIMEOUT
        )
        response = await self._send(_Call("GET", path, query, timeout=timeout))
        self._streams.add(response)
        try:
            yield _lines(response)
        finally:
            self._streams.discard(response)
            # Nothing is left to be said on it; a polite end of TLS would take a round trip.
            if response.connection and response.connection.transport:
                response.connection.transport.abort()
            response.close()

    async def _call(self, call: _Call) -> Json:
        response = await self._send(call)
        try:
            answer: Json = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _away(error) from error
        finally:
            response.release()
        return answer

    async def _send(self, call: _Call) -> aiohttp.ClientResponse:
        for again in (True, False):
            api = await self._ready()
            try:
                response = await _request(api, call)
            except Unavailable:
                if again and self._api is not api:
                    # Closed under it, because somebody else read the credentials anew.
                    continue
                raise
            if response.status < 400:  # noqa: PLR2004 - success in HTTP
                return response
            error = await _error(response)
            if error.status == _UNAUTHORISED and again and await self._reload(api):
                continue
            if _is_away(error.status, call.method):
                raise Unavailable(f"the Kubernetes API answers {error.status}: {error.message}")
            if error.status == _UNAUTHORISED:
                raise Unavailable(
                    f"the Kubernetes API at {self.host} does not accept the credentials: "
                    f"{error.message}",
                    hint="They may have expired: renew them where the kubeconfig says.",
                )
            raise error
        raise AssertionError("unreachable")

    async def _ready(self) -> Any:
        if self._api is None:
            async with self._loading:
                if self._api is None:
                    self._api = await self._load()
                    self._loaded_at = time.monotonic()
        return self._api

    async def _reload(self, used: Any) -> bool:
        """Look for newer credentials; return whether another try makes sense."""
        async with self._loading:
            if self._api is not used:
                return True
            if time.monotonic() - self._loaded_at < RELOAD_AFTER:
                return False
            log.info("the Kubernetes API does not know our credentials any more; reading them anew")
            self._api = await self._load()
            self._loaded_at = time.monotonic()
        # Closing takes the connections away without a word to those who read from them; to them it
        # is to look like an end in good time, after which they go on with the new ones.
        for each in self._streams:
            each.content.feed_eof()
        await used.close()
        return True


async def _request(api: Any, call: _Call) -> aiohttp.ClientResponse:
    _, url, headers, body, _ = await api.param_serialize(
        method=call.method,
        resource_path=call.path,
        query_params=list(call.query.items()),
        header_params={"Accept": "application/json", "Content-Type": call.content_type},
        body=call.body,
        auth_settings=["BearerToken"],
    )
    try:
        answer = await api.rest_client.request(
            call.method, url, headers=headers, body=body, _request_timeout=call.timeout
        )
    # The last two are what aiohttp raises where its session is closed before, or meanwhile.
    except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError, AssertionError) as error:
        raise _away(error) from error
    response: aiohttp.ClientResponse = answer.response
    return response


def _is_away(status: int, method: str) -> bool:
    """Return whether an answer means that the API server cannot do its work now."""
    if status == _INTERNAL:
        # What is written may trip it up by itself, or a webhook that it asks first.
        return method == "GET"
    return status == _BUSY or status > _INTERNAL


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    try:
        text = await response.text(errors="replace")
    except (aiohttp.ClientError, OSError, TimeoutError):
        text = ""
    finally:
        response.release()
    try:
        status = json.loads(text)
        return ApiError(response.status, str(status.get("reason")), str(status["message"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError(response.status, str(response.reason), text.strip() or str(response.reason))


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # A line of a watch is a whole object, far longer than aiohttp's own reading of lines allows.
    rest = b""
    try:
        async for piece in response.content.iter_any():
            *complete, rest = (rest + piece).split(b"\n")
            for line in complete:
                yield line
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _away(error) from error
    if rest:
        yield rest


def _away(error: Exception) -> Unavailable:
    said = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    return Unavailable(f"the Kubernetes API does not answer: {said or type(error).__name__}")
