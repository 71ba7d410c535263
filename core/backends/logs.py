"""The logs of a version's containers as one: what they wrote, and what they write."""

import asyncio
import contextlib
import heapq
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from longshore.core.backends.hints import Hints
from longshore.core.backends.lines import Line
from longshore.core.errors import LongshoreError, NotFound, Unavailable
from longshore.core.names import VersionKey

_BUFFERED = 1000
"""Lines that wait for a slow reader; then the containers' logs are read no further."""

_AGAIN = 1.0
"""Seconds before a log that broke off is opened again."""


@dataclass(frozen=True, slots=True)
class Containers:
    """The containers of one version, and how their logs are read. Times are seconds since 1970."""

    present: Callable[[], Awaitable[Sequence[str]]]
    """Returns the ids of those that are there now."""
    past: Callable[[str, float], Awaitable[Sequence[Line]]]
    """Returns what one of them wrote until then, oldest first; nothing where it is gone."""
    follow: Callable[[str, float], AsyncIterator[Line]]
    """Yields what one of them writes from then on until it exits; raises ``Unavailable`` where it
    should be asked again."""


async def log_of(
    key: VersionKey, containers: Containers, hints: Hints, *, follow: bool
) -> AsyncGenerator[str, None]:
    """Yield the lines of all containers of a version, oldest first; close it when done.

    Args:
        key: the version.
        containers: its own.
        hints: when to look for new containers.
        follow: go on with what is written until the hints end.

    Raises:
        NotFound: it has no container.
    """
    now = time.time()
    present = await containers.present()
    if not present:
        raise NotFound(f"{key} has no replica, running or exited")
    logs = await asyncio.gather(*(containers.past(each, now) for each in present))
    for line in heapq.merge(*logs, key=lambda line: line.at):
        yield line.text
    if follow:
        async with contextlib.aclosing(_Followed(containers, hints, now).lines()) as lines:
            async for line in lines:
                yield line.text


class _Followed:
    """The logs of several containers, and of those that come later, as they are written.

    Args:
        containers: whose logs.
        hints: when to look for new ones.
        since: seconds since 1970; older lines are left out.
    """

    def __init__(self, containers: Containers, hints: Hints, since: float) -> None:
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
                present = set(await self._containers.present())
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
                async for line in self._containers.follow(container, since):
                    await self._lines.put(line)
            except Unavailable:
                since = time.time()
                await asyncio.sleep(_AGAIN)
            else:
                return
