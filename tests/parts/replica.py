"""A model server on a real socket that does exactly what a test says, byte by byte if need be."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from longshore.core.types import Address, Endpoint

_numbers = count(1)


@dataclass
class Exchange:
    """One request as it arrived, and the way to answer it."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Return the values of a header, in order."""
        return [value.decode() for each, value in self.headers if each == name.encode()]

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next(iter(self.all(name)), None)

    async def read_body(self) -> bytes:
        """Read and keep the whole body."""
        async for piece in self.pieces():
            self.body += piece
        return self.body

    async def pieces(self) -> AsyncIterator[bytes]:
        """Read the body as it comes."""
        if self.header("transfer-encoding"):
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return
        left = int(self.header("content-length") or 0)
        while left:
            piece = await self.reader.read(min(left, 1 << 20))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    async def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(
        self, body: bytes, status: str = "200 OK", headers: tuple[bytes, ...] = ()
    ) -> None:
        """Answer with a body of known length."""
        lines = [b"HTTP/1.1 " + status.encode(), *headers, b"Content-Length: %d" % len(body)]
        await self.send(b"\r\n".join([*lines, b"", body]))

    async def until_left(self) -> None:
        """Wait until the other side closes its connection."""
        while await self.reader.read(1 << 16):
            pass

    def reset(self) -> None:
        """End the connection as a crash does, with a reset."""
        closing_at_once = struct.pack("ii", 1, 0)
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, closing_at_once)
        self.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


async def echo(exchange: Exchange) -> None:
    """Read the whole body and send it back."""
    await exchange.answer(await exchange.read_body())


@dataclass
class Replica:
    """A running model server; counts what reaches it."""

    behave: Behaviour = echo
    id: str = field(default_factory=lambda: f"replica-{next(_numbers)}")
    port: int = 9
    """Where nobody listens, before it runs."""
    connections: int = 0
    open: int = 0
    """Connections that are open now."""
    requests: list[Exchange] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def endpoint(self) -> Endpoint:
        """What the controller would tell the router."""
        return Endpoint(replica=self.id, address=Address(host="127.0.0.1", port=self.port))

    @property
    def last(self) -> Exchange:
        """The request that came last."""
        return self.requests[-1]

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["Replica"]:
        """Listen while the context is open, on any free port unless one is named."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while exchange := await _read_head(reader, writer):
                self.requests.append(exchange)
                await self.behave(exchange)
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.failures.append(error)
        except asyncio.CancelledError:
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()


async def _read_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split(b"\r\n")
    method, target, _ = first.decode().split(" ")
    headers = [
        (name.lower(), value.strip()) for name, _, value in (x.partition(b":") for x in lines)
    ]
    return Exchange(method, target, headers, reader, writer)
