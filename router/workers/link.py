"""The link between parent and worker: lines both ways over a pair of connected sockets.

Whoever sends waits until the other side keeps up, so neither ever holds more than a line or two.
The link ends when either process does, however it ends.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Self

from longshore.router.workers.messages import MOST_LINE


class Link:
    """One end.

    Args:
        reader: of what the other side tells.
        writer: to the other side.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Take one of a pair of sockets, which is the link's from now on."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=MOST_LINE))

    async def send(self, line: bytes) -> None:
        """Send a line as soon as the other side has read most of what came before.

        Raises:
            OSError: the other side is gone.
        """
        self._writer.write(line)
        await self._writer.drain()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield what the other side sends, until it is gone."""
        with contextlib.suppress(OSError):
            while line := await self._reader.readline():
                yield line

    def close(self) -> None:
        """End the link; if it ended already, return silently."""
        self._writer.close()


async def first_of(one: asyncio.Event, other: asyncio.Event) -> None:
    """Wait until one of two things happens."""
    waiting = [asyncio.create_task(each.wait()) for each in (one, other)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
