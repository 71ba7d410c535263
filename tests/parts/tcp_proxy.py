"""A server that passes everything on, and can be stopped as if a network went away.

As a program, or as text for ``python3 -c``, it passes on whole addresses, until it is killed:

    python3 tcp_proxy.py 192.0.2.2:5432=127.0.0.1:5432 ...
"""

import asyncio
import contextlib
import sys
from typing import Self


class TcpProxy:
    """Passes connections on to another server.

    Args:
        host: of that server.
        port: of that server.
        on: address to listen on.
        at: port to listen on; 0 takes a free one.
    """

    def __init__(self, host: str, port: int, *, on: str = "127.0.0.1", at: int = 0) -> None:
        self.port = at
        """Where it listens; the same after each start."""
        self._on = on
        self._there = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self._on, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all connections, and refuse new ones."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    def there(self) -> tuple[str, int]:
        """Return where the next connection goes."""
        return self._there

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self.there())
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        try:
            await asyncio.gather(_pass(reader, there_writer), _pass(there_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.close()


async def _main(pairs: list[str]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for each in pairs:
            here, there = (address.rpartition(":") for address in each.split("="))
            proxy = TcpProxy(there[0], int(there[2]), on=here[0], at=int(here[2]))
            await stack.enter_async_context(proxy)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
