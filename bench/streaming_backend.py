"""A backend for long bodies and for events, on uvloop so that it is no bottleneck. Argument: port.

``POST /upload`` reads the body; ``POST /download/BYTES`` sends so many; ``POST /events/COUNT/MS``
sends server-sent events that many milliseconds apart, each with the nanoseconds of CLOCK_MONOTONIC
at which it was sent. It ends when its standard input does.
"""

import asyncio
import sys
import time
from typing import cast

import httptools
import uvloop

PIECE = memoryview(bytes(1 << 20))


class Call(asyncio.Protocol):
    """One connection; answers its calls one after the other."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._answering: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        # uvloop's transports are not derived from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering."""
        if self._answering:
            self._answering.cancel()

    def pause_writing(self) -> None:
        """Wait: the peer reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below do the rest."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Remember what was called."""
        self._path = url

    def on_message_complete(self) -> None:
        """Answer when the whole body is there."""
        what, *numbers = self._path.decode().strip("/").split("/")
        if what == "events":
            count, milliseconds = map(int, numbers)
            self._answering = asyncio.ensure_future(self._events(count, milliseconds / 1000))
        elif what == "download":
            self._answering = asyncio.ensure_future(self._download(int(numbers[0])))
        else:
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def _download(self, size: int) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
        head += b"content-length: %d\r\n\r\n" % size
        self._transport.writelines([head, PIECE[:size]])
        left = size - len(PIECE)
        while left > 0:
            await self._writable.wait()
            self._transport.write(PIECE[: min(left, len(PIECE))])
            left -= len(PIECE)

    async def _events(self, count: int, pause: float) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        head += b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        for number in range(count):
            if number:
                await asyncio.sleep(pause)
            event = b"data: %d\n\n" % time.monotonic_ns()
            # The head goes out with the first event, as language models' first tokens do.
            self._transport.write(b"%s%x\r\n%s\r\n" % (b"" if number else head, len(event), event))
        self._transport.write(b"0\r\n\r\n")


async def main(port: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    async with await loop.create_server(Call, "127.0.0.1", port, backlog=4096):
        await ended.read()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
