"""The client's side of a request, as ASGI gives it: its body, and whether it is still there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from starlette.types import Receive

from longshore.core.errors import LongshoreError
from longshore.router.errors import BodyTooLarge
from longshore.router.headers import RawHeaders, content_length, has_body


class ClientLeft(Exception):
    """The client closed its connection before its answer was complete; nobody needs one now."""


class Client:
    """Reads a request as it comes, and interrupts the work for it when it cannot go on.

    Args:
        receive: ASGI's.
        headers: the request's.
        most: largest body in bytes.
        hint: what to do about a larger one.

    Raises:
        BodyTooLarge: the headers tell that it is, before anything was read.
    """

    def __init__(self, receive: Receive, headers: RawHeaders, most: int, hint: str) -> None:
        self._receive = receive
        self._most = most
        self._hint = hint
        self._read = 0
        self._has_body = has_body(headers)
        self._scope = asyncio.timeout(None)
        self._first: tuple[bytes, bool] | None = None
        """The first piece of the body, where it was read before it was asked for."""
        self._listener: asyncio.Task[None] | None = None
        self._attached = False
        self._error: Exception | None = None
        if (content_length(headers) or 0) > most:
            raise BodyTooLarge(most, hint)

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Interrupt what is done in the context as soon as the client leaves.

        It can be opened again after it was left in peace.

        Raises:
            ClientLeft: it left.
            BodyTooLarge: the body crossed the limit while it was passed on.
        """
        self._scope = asyncio.timeout(None)
        try:
            async with self._scope:
                self._attached = True
                yield
        except (TimeoutError, LongshoreError) as error:
            # Whatever came of an interruption, its reason is what matters.
            reason = self._error
            if reason is None or reason is error:
                raise
            raise reason from error
        finally:
            self._attached = False
            if self._listener:
                self._listener.cancel()

    async def first(self) -> int:
        """Read the first piece of the body, leave it to ``body``, and return its size.

        If that is all of it, watch whether the client leaves.
        """
        piece, more = b"", False
        if self._has_body:
            piece, more = self._first = await self._next()
        if not more:
            self.listen()
        return len(piece)

    async def body(self) -> bytes | AsyncIterator[bytes] | None:
        """Return the body: whole if it came in one piece, else piece by piece; None for none."""
        if not self._has_body:
            self.listen()
            return None
        first, more = self._first or await self._next()
        self._first = None
        if more:
            return self._pieces(first)
        self.listen()
        return first

    def listen(self) -> None:
        """Watch whether the client leaves; to be called when its body was read."""
        self._listener = asyncio.create_task(self._wait_until_gone())

    async def _pieces(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        more = True
        while more:
            piece, more = await self._next()
            if piece:
                yield piece
        self.listen()

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._interrupt(ClientLeft())
        piece: bytes = message.get("body", b"")
        self._read += len(piece)
        if self._read > self._most:
            self._interrupt(BodyTooLarge(self._most, self._hint))
        return piece, message.get("more_body", False)

    async def _wait_until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._stop(ClientLeft())

    def _interrupt(self, error: Exception) -> NoReturn:
        """End the exchange, whose body must not seem complete: so this raises there, too."""
        self._stop(error)
        raise error

    def _stop(self, error: Exception) -> None:
        if self._attached and self._error is None:
            self._error = error
            self._scope.reschedule(0)
