"""Hints that something may have changed, from the engine's events and from probes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from longshore.core.errors import Unavailable
from longshore.plugins.engine.client import EngineError
from longshore.plugins.engine.connect import Connection

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between tries to reach an engine that is away."""


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


async def follow_events(connection: Connection, labels: Mapping[str, str], hints: Hints) -> None:
    """Hint at every event of containers with these labels, and at each (re)connection.

    Runs until cancelled; an engine that is away is tried again and again, and started again where
    it is ours.
    """
    pause = SHORTEST_PAUSE
    while True:
        try:
            async with connection.client.events(labels) as events:
                # Whatever happened while nobody listened is to be looked at now.
                hints.tell()
                pause = SHORTEST_PAUSE
                async for _ in events:
                    hints.tell()
        except (Unavailable, EngineError) as error:
            log.warning("engine events: %s", error.message)
            hints.tell()
            await connection.revive()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
