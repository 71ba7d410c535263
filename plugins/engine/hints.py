"""Hints that something may have changed, from the engine's events."""

import asyncio
import logging
from collections.abc import Mapping

from longshore.core.backends.hints import Hints
from longshore.core.errors import Unavailable
from longshore.plugins.engine.connect import Connection
from longshore.plugins.engine.wire import EngineError

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between tries to reach an engine that is away."""


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
