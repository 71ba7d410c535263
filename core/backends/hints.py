"""Hints that something may have changed, from wherever a backend learns of it."""

import asyncio
from collections.abc import AsyncIterator


class Hints:
    """Tells any number of listeners; what they miss between two looks comes to them as one hint."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()
        self._closed = False

    def tell(self) -> None:
        """Let all listeners look."""
        for listener in self._listeners:
            listener.set()

    def close(self) -> None:
        """End all listening."""
        self._closed = True
        self.tell()

    async def listen(self, *, now: bool = False) -> AsyncIterator[None]:
        """Yield at each hint until closed.

        Args:
            now: yield once at the beginning.
        """
        listener = asyncio.Event()
        if now or self._closed:
            listener.set()
        self._listeners.add(listener)
        try:
            while True:
                await listener.wait()
                if self._closed:
                    return
                listener.clear()
                yield
        finally:
            self._listeners.discard(listener)
