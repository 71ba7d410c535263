"""A model server for the soak: answers in the size and status that a request asks for, or dies."""

import asyncio
import re
import sys
from typing import cast
from urllib.parse import parse_qs

import uvloop

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Model(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._held = b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._end()) > 0:
            query = self._held.partition(b" HTTP/1.1")[0].partition(b"?")[2].decode()
            self._held = self._held[end:]
            if query == "die":
                self._transport.abort()
                return
            asked = parse_qs(query)
            size = int(asked.get("size", ["20"])[0])
            status = int(asked.get("status", ["200"])[0])
            self._transport.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, size) + b"y" * size
            )

    def _end(self) -> int:
        """Return where the first request ends; 0 while it has not."""
        head = self._held.find(b"\r\n\r\n") + 4
        if head < 4:
            return 0
        length = _LENGTH.search(self._held, 0, head)
        if length:
            end = head + int(length[1])
            return end if len(self._held) >= end else 0
        if b"chunked" in self._held[:head]:
            return (
                self._held.find(b"0\r\n\r\n", head) + 5 if b"0\r\n\r\n" in self._held[head:] else 0
            )
        return head


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
