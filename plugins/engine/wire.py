"""One call to a container engine: HTTP over its Unix socket, and what may become of it.

Answers are bounded in bytes and seconds. An engine that does not answer is ``Unavailable``; one
that answers with an error raises ``EngineError``.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from longshore.core.errors import Unavailable
from longshore.core.quantities import size

CALL_TIMEOUT = 60.0
"""Seconds for a call that the engine answers at once when it is well."""

CONNECT_TIMEOUT = 5.0
"""Seconds until the socket takes a connection."""

MOST_BYTES = 32 << 20
"""Size of the largest answer: the list of some ten thousand containers."""

LONGEST_LINE = 1 << 20
"""Bytes of the longest line in a JSON stream."""

_NOT_FOUND = 404
_STUMBLES = ("image not known", "locating item named")
_CONFLICT = 409
_INTERNAL = 500
_FIRST_ERROR = 400


class EngineError(Exception):
    """The engine refused.

    Args:
        status: of HTTP; 0 for an error inside a stream.
        message: the engine's own words.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def gone(self) -> bool:
        """Whether what was asked for is not there."""
        # Podman calls it an internal error where a container vanishes during the call.
        return self.status == _NOT_FOUND or "no such container" in self.message.lower()

    @property
    def stumbled(self) -> bool:
        """Whether the engine fell over an image, any one, that came or went while it looked.

        Podman reads all images to find one by its digest.
        """
        words = self.message.lower()
        return self.status >= _INTERNAL and any(each in words for each in _STUMBLES)

    @property
    def conflicts(self) -> bool:
        """Whether something else is in the way: a name that is taken, another state."""
        return self.status == _CONFLICT


class Wire:
    """Calls an engine.

    Args:
        socket: path of its Unix socket.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        # A connection is made for each call: cheap on a Unix socket, and never a stale one.
        self._session = aiohttp.ClientSession(
            "http://localhost",
            connector=aiohttp.UnixConnector(str(socket), limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        )

    async def close(self) -> None:
        """Close all connections; calling it twice is silence."""
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - aiohttp's own, and it closes the socket
    ) -> Any:
        """Return what the engine answers, read as JSON; None where it answers nothing.

        Raises:
            EngineError: it refuses.
            Unavailable: it does not answer.
        """
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._session.request(
                method, path, params=params, json=body, timeout=limits
            ) as response:
                content = await _bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error, timeout) from error
        if response.status >= _FIRST_ERROR:
            raise EngineError(response.status, _message(content))
        return _parse(content) if content.strip() else None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an answer that may go on for long; yields its pieces. It raises as ``call`` does."""
        try:
            async with self._session.request(
                method, path, params=params, headers=headers
            ) as response:
                if response.status >= _FIRST_ERROR:
                    raise EngineError(response.status, _message(await _bounded(response)))
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception, timeout: float = CONNECT_TIMEOUT) -> Unavailable:
        if isinstance(error, TimeoutError):
            why = f"no answer within {timeout:g} s"
        elif isinstance(error, aiohttp.ClientConnectorError):
            why = error.os_error.strerror or str(error.os_error)
        else:
            why = str(error) or type(error).__name__
        return Unavailable(
            f"the container engine at {self._socket} does not answer: {why}",
            hint="Start it again; Longshore reconnects by itself.",
        )


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > MOST_BYTES:
            raise EngineError(0, f"the engine's answer is larger than {size(MOST_BYTES)}")
    return bytes(content)


async def json_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield what each line of a stream says.

    Raises:
        EngineError: a line is too long, or no JSON.
    """
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise EngineError(0, f"the engine sent a line of more than {size(LONGEST_LINE)}")
        for line in lines:
            if line.strip():
                yield _parse(line)
    if rest.strip():
        yield _parse(rest)


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise EngineError(0, f"the engine sent broken JSON: {error}") from error


def _message(content: bytes) -> str:
    try:
        # Podman puts the cause of all causes elsewhere; this is the whole chain.
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:1000].decode(errors="replace").strip()
