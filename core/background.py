"""Work that goes on beside something else."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager


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
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
