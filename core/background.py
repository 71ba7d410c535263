"""Work that goes on beside something else."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from longshore.core.errors import LongshoreError


class Tasks:
    """Work that nobody waits for; asyncio itself would forget it half-way through."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many have not ended yet."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin something, under a name."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cut off all that has not ended, and wait until it has; others may be spawned then."""
        await cut_off(self._tasks)


@asynccontextmanager
async def beside(works: Mapping[str, Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """Do works while the context is open; what is not done when it closes is cut off.

    Args:
        works: by what their tasks are called.
    """
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    try:
        yield
    finally:
        await cut_off(tasks)


@contextmanager
def survived(log: logging.Logger, failure: str) -> Iterator[None]:
    """End a round with whatever it trips over, and log that: the next one must come.

    Args:
        log: the caller's.
        failure: what is said then: ``collection failed``.
    """
    try:
        yield
    except LongshoreError as error:
        log.warning("%s: %s", failure, error.traced)
    except Exception:
        log.exception("%s", failure)


async def cut_off(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and return when all have ended, whatever becomes of them."""
    # What failed before is left to asyncio, which logs errors that nobody looked at.
    ending = [task for task in tasks if not task.done()]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
