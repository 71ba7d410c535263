"""Accepting one connection a turn, and leaving the others to whoever is free."""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from parts.routed import until

from longshore.router.workers import accept
from longshore.router.workers.accept import OneByOne, Shares


class Greets(asyncio.Protocol):
    """Says who it is."""

    def __init__(self, who: bytes, port: "Port") -> None:
        self.who = who
        self.port = port

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        connection = transport.get_extra_info("socket")
        self.port.delays.append(not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.port.open += 1
        transport.write(self.who)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.port.open -= 1


class Port:
    """A listening socket with any number of acceptors, as if they were other processes."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.delays: list[bool] = []
        """Of each connection, whether small answers are held back on it."""
        self.open = 0
        self.own: list[socket.socket] = []

    def accept(self, who: bytes, *, gives_way: bool = False) -> OneByOne:
        # Each has a descriptor of its own, as an inherited one is.
        mine = self.listener.dup()
        mine.setblocking(False)
        self.own.append(mine)
        return OneByOne(
            asyncio.get_running_loop(), mine, lambda: Greets(who, self), lambda _: gives_way
        )

    async def greeting(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = Port(listener)
        yield port
        assert await until(lambda: not port.open)
        for each in port.own:
            each.close()


async def test_connections_that_wait_go_to_another_when_one_stops(port: Port) -> None:
    first = port.accept(b"first")
    assert await port.greeting() == b"first"
    first.close()
    await first.wait_closed()
    waiting = [asyncio.create_task(port.greeting()) for _ in range(5)]
    await asyncio.sleep(0.1)
    assert not any(each.done() for each in waiting)
    second = port.accept(b"second")
    assert await asyncio.gather(*waiting) == [b"second"] * 5
    second.close()


async def test_one_that_gives_way_takes_what_nobody_else_takes(port: Port) -> None:
    polite = port.accept(b"polite", gives_way=True)
    assert await port.greeting() == b"polite"
    other = port.accept(b"other")
    greetings = await asyncio.gather(*(port.greeting() for _ in range(50)))
    # It waits for milliseconds, in which the other has its turns.
    assert greetings.count(b"other") > 25, greetings
    polite.close()
    other.close()
    polite.close()


async def test_small_answers_are_not_held_back(port: Port) -> None:
    accepting = port.accept(b"x")
    assert await port.greeting() == b"x"
    assert port.delays == [False]
    accepting.close()


class OutOfFiles:
    """A listening socket of a process that has no file descriptor left, for a while."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.refusals = 2

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()


async def test_it_goes_on_when_there_are_files_again(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accept, "OUT_OF_FILES", 0.05)
    accepting = OneByOne(
        asyncio.get_running_loop(),
        OutOfFiles(port.listener),  # type: ignore[arg-type] # as much of one as is needed
        lambda: Greets(b"at last", port),
        lambda _: False,
    )
    assert await port.greeting() == b"at last"
    assert [each.getMessage() for each in caplog.records] == [
        "no connection can be accepted now: Too many open files"
    ] * 2
    accepting.close()


async def test_a_client_that_left_at_once_does_no_harm(port: Port) -> None:
    accepting = port.accept(b"here")
    at_once = struct.pack("ii", 1, 0)
    for _ in range(20):
        with socket.create_connection(port.listener.getsockname()) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    assert await port.greeting() == b"here"
    accepting.close()
    await accepting.wait_closed()


def test_who_has_more_gives_way_to_whoever_accepts() -> None:
    cells = memoryview(bytearray(b"\xff" * 12)).cast("i")
    one, other = Shares(cells, 0), Shares(cells, 1)
    for each in (one, other):
        each.tell()
    assert list(cells) == [0, 0, -1]
    assert not one.gives_way(0), "nobody has fewer"
    assert one.gives_way(1), "the one that it just accepted counts"
    assert not other.gives_way(0)
    other.stop()
    assert list(cells) == [1, -1, -1]
    assert not one.gives_way(5), "the other accepts none"
    other.tell()
    assert list(cells) == [5, -1, -1], "it stays so"
