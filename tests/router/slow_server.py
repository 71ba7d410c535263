"""A model server that is slow to accept connections, and lets few wait for that."""

import asyncio
import sys
import time


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    time.sleep(0.004)  # noqa: ASYNC251 - it is busy, and takes nothing else meanwhile
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(b"[1]"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
