"""Calls to the engine that are better not cut off, and several at once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable


async def to_the_end(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do it, and if cancelled meanwhile, be cancelled afterwards; cancelled before, do nothing.

    A request whose caller left may still be carried out, half or late, when nobody looks any more.
    A second cancellation, as of a caller that loses patience, is obeyed at once.
    """
    task = asyncio.ensure_future(work())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(asyncio.shield(task), return_exceptions=True)
        raise


async def all_of(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Do all at once; where some fail, raise the first failure when the others are done."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
