"""The logs of several containers at once, as they are written."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from longshore.core.backends.hints import Hints
from longshore.core.backends.lines import Line
from longshore.core.errors import LongshoreError, Unavailable

_BUFFERED = 1000
"""Lines that wait for a slow reader; then the containers' logs are read no further."""


class Followed:
    """The logs of several containers, and of those that come later, as they are written.

    Args:
        read: yields what one of them writes from a time on (seconds since 1970) until it exits;
            raises ``Unavailable`` where it should be asked again.
        containers: returns the ids of those that are there now.
        hints: when to ask again.
        since: seconds since 1970; older lines are left out.
    """

    def __init__(
        self,
        read: Callable[[str, float], AsyncIterator[Line]],
        containers: Callable[[], Awaitable[Sequence[str]]],
        hints: Hints,
        since: float,
    ) -> None:
        self._read_one = read
        self._containers = containers
        self._hints = hints
        self._since = since
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue(maxsize=_BUFFERED)
        self._readers: dict[str, asyncio.Task[None]] = {}

    async def lines(self) -> AsyncGenerator[Line, None]:
        """Yield lines until the hints end; close it when they are wanted no more."""
        looking = asyncio.create_task(self._look(), name="logs")
        try:
            while (line := await self._lines.get()) is not None:
                yield line
        finally:
            for task in (looking, *self._readers.values()):
                task.cancel()

    async def _look(self) -> None:
        async for _ in self._hints.listen(now=True):
            # The engine may be away; it hints when it is back.
            with contextlib.suppress(LongshoreError):
                present = set(await self._containers())
                reading = {each for each, task in self._readers.items() if not task.done()}
                self._readers = {
                    each: self._readers.get(each) or asyncio.create_task(self._read(each))
                    for each in present | reading
                }
        await self._lines.put(None)

    async def _read(self, container: str) -> None:
        since = self._since
        while True:
            try:
                async for line in self._read_one(container, since):
                    await self._lines.put(line)
            except Unavailable:
                since = time.time()
                await asyncio.sleep(1)
            else:
                return
