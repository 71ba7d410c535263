"""What one client, and all together, may take: bytes, headers, time, connections."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parts.replica import Exchange
from parts.routed import Routed, route, routed, until

from longshore.router.edge import watch

LANE = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
RAW = b"POST /v1/models/iris/versions/1/raw/predict HTTP/1.1\r\nHost: localhost\r\n"
WAYS = pytest.mark.parametrize("head", [LANE, RAW], ids=["lane", "long way"])

Start = Callable[..., AbstractAsyncContextManager[Routed]]


@pytest.fixture
def start(state: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a router with these settings, whose watch looks often."""
    monkeypatch.setattr(watch, "EVERY", 0.05)

    @asynccontextmanager
    async def started(**settings: object) -> AsyncIterator[Routed]:
        async with routed(state, **settings) as router:
            yield router

    return started


async def refusal(reader: asyncio.StreamReader, status: int, slug: str) -> dict[str, Any]:
    """Read the answer that ends a connection, and return its document."""
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status), head
    assert b"connection: close" in head
    document: dict[str, Any] = json.loads(body)
    assert document["type"] == f"urn:longshore:problem:{slug}"
    return document


async def is_answered(reader: asyncio.StreamReader) -> bool:
    """Read a sized answer, and return whether it is a success."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(x for x in head.split(b"\r\n") if x.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
    return head.startswith(b"http/1.1 200")


# --- the head -----------------------------------------------------------------------------------


@WAYS
async def test_a_heads_bytes(start: Start, head: bytes) -> None:
    async with start(max_head=2048) as router:
        replica = await router.serving()
        end = b"Content-Length: 0\r\n\r\n"
        fill = 2048 - len(head) - len(end) - len(b"X: \r\n")
        reader, writer = await router.raw(head + b"X: " + b"y" * fill + b"\r\n" + end)
        assert await is_answered(reader)
        writer.write(head + b"X: " + b"y" * (fill + 1) + b"\r\n" + end)
        document = await refusal(reader, 431, "head-too-large")
        assert (document["limit"], "max_head" in document["hint"]) == (2048, True)
        assert len(replica.requests) == 1


@WAYS
async def test_a_heads_headers(start: Start, head: bytes) -> None:
    async with start(max_headers=10) as router:
        replica = await router.serving()
        end = b"Content-Length: 0\r\n\r\n"
        reader, writer = await router.raw(head + b"X: y\r\n" * 8 + end)
        assert await is_answered(reader)
        writer.write(head + b"X: y\r\n" * 9 + end)
        document = await refusal(reader, 431, "head-too-large")
        assert (document["limit"], "max_headers" in document["hint"]) == (10, True)
        assert len(replica.requests) == 1


async def test_a_head_that_drips(start: Start) -> None:
    async with start(head_timeout=0.5) as router:
        replica = await router.serving()
        reader, writer = await router.raw(b"")

        async def drip() -> None:
            for letter in LANE * 100:
                writer.write(bytes([letter]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        document = await refusal(reader, 408, "request-too-slow")
        assert (document["limit"], "head_timeout" in document["hint"]) == (0.5, True)
        dripping.cancel()
        assert not replica.requests


async def test_who_says_nothing_is_closed_as_idle(start: Start) -> None:
    async with start(keep_alive=0.3) as router:
        reader, _ = await router.raw(b"")
        assert await asyncio.wait_for(reader.read(), 10) == b""


@WAYS
async def test_idle_connections_are_closed_and_busy_ones_are_not(start: Start, head: bytes) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.read_body()
        await go.wait()
        await exchange.answer(b"done")

    async with start(keep_alive=0.3, head_timeout=0.3, body_timeout=0.3) as router:
        await router.serving(waits)
        reader, _ = await router.raw(head + b"Content-Length: 1\r\n\r\n1")
        await asyncio.sleep(1)
        go.set()
        assert await is_answered(reader), "nothing ends a request that only waits for its answer"
        assert await asyncio.wait_for(reader.read(), 10) == b""


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        LANE + b"Content-Length: 9\r\n\r\none",
        RAW + b"Content-Length: 9\r\n\r\none",
        RAW + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    ],
    ids=["lane", "long way", "chunked"],
)
async def test_a_body_that_stalls(start: Start, request_: bytes) -> None:
    async with start(body_timeout=0.5) as router:
        replica = await router.serving()
        reader, writer = await router.raw(request_)
        document = await refusal(reader, 408, "request-too-slow")
        assert (document["limit"], "body_timeout" in document["hint"]) == (0.5, True)
        writer.write(b"three3")
        assert await until(lambda: replica.failures), "the replica saw an incomplete body"
        assert replica.last.body == b"one"
        assert await until(lambda: router.table.load(route().version.key).in_flight == 0)


@WAYS
async def test_a_body_that_drips_is_no_stall(start: Start, head: bytes) -> None:
    async with start(body_timeout=0.5) as router:
        await router.serving()
        reader, writer = await router.raw(head + b"Content-Length: 12\r\n\r\n")
        for _ in range(12):
            await asyncio.sleep(0.1)
            writer.write(b"x")
        assert await is_answered(reader)


@WAYS
async def test_a_body_that_the_replica_does_not_take_is_no_stall(start: Start, head: bytes) -> None:
    go = asyncio.Event()

    async def patient(exchange: Exchange) -> None:
        await go.wait()
        await exchange.read_body()
        await exchange.answer(b"all")

    size = 32 << 20
    async with start(body_timeout=0.3) as router:
        await router.serving(patient)
        reader, writer = await router.raw(head + b"Content-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await asyncio.sleep(1.2)
        go.set()
        assert await is_answered(reader)


@pytest.mark.parametrize("head", [LANE, RAW], ids=["lane", "long way"])
async def test_a_body_that_was_answered_early_may_not_run_on_for_ever(
    start: Start, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RUN_OUT", 0.5)

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"no", "403 Forbidden")

    async with start() as router:
        await router.serving(refuse)
        reader, writer = await router.raw(head + b"Content-Length: 1000000\r\n\r\nx")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert not await is_answered(reader)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        dripping.cancel()


# --- answers ------------------------------------------------------------------------------------

SIZE = 64 << 20


async def flood(exchange: Exchange) -> None:
    """Answer with more than all buffers on the way can hold."""
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
    for _ in range(SIZE >> 18):
        await exchange.send(bytes(1 << 18))


@WAYS
async def test_an_answer_that_nobody_takes_is_cut_off(start: Start, head: bytes) -> None:
    async with start(answer_timeout=0.5) as router:
        replica = await router.serving(flood)
        with slow_socket(router.port) as client:
            client.sendall(head + b"Content-Length: 1\r\n\r\n1")
            assert await until(lambda: replica.requests)
            assert await until(lambda: not replica.open, 10), "the replica is let go"
            assert await until(lambda: router.table.load(route().version.key).in_flight == 0)


@WAYS
async def test_an_answer_that_is_taken_slowly_is_not(start: Start, head: bytes) -> None:
    async with start(answer_timeout=0.5) as router:
        await router.serving(flood)
        with slow_socket(router.port) as client:
            client.sendall(head + b"Content-Length: 1\r\n\r\n1")
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            for _ in range(15):
                await asyncio.sleep(0.1)
                assert await loop.sock_recv(client, 16 << 10)
            assert router.table.load(route().version.key).in_flight == 1


def slow_socket(port: int) -> socket.socket:
    """Return a connection whose own buffer holds little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    client.connect(("127.0.0.1", port))
    return client


# --- connections --------------------------------------------------------------------------------

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("setting", ["max_connections", "max_connections_per_client"])
async def test_too_many_connections_are_told_so_and_harm_nobody(start: Start, setting: str) -> None:
    async with start(**{setting: 3}) as router:
        open_ = [await router.raw(GET) for _ in range(3)]
        assert all([await is_answered(reader) for reader, _ in open_])
        for request in (GET, LANE + b"Content-Length: 1\r\n\r\n1"):
            reader, _ = await router.raw(request)
            document = await refusal(reader, 503, "too-many-connections")
            assert (document["limit"], setting in document["hint"]) == (3, True)
        for reader, writer in open_:
            writer.write(GET)
            assert await is_answered(reader), "those that are open go on"
        open_[0][1].close()
        for _ in range(100):  # the router may hear of the end a moment later
            reader, _ = await router.raw(GET)
            if await is_answered(reader):
                return
            await asyncio.sleep(0.05)
        pytest.fail("the place of a connection that ended was not given to another one")


async def test_there_are_never_more_than_files_can_be_opened_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (134, 134))
    async with start() as router:
        for _ in range(3):
            await router.raw(b"")
        reader, _ = await router.raw(GET)
        document = await refusal(reader, 503, "too-many-connections")
        assert (document["limit"], "ulimit -n" in document["hint"]) == (3, True)


async def test_a_refusal_asks_to_come_back(start: Start) -> None:
    async with start(max_connections=1) as router:
        await router.raw(b"")
        reader, _ = await router.raw(GET)
        assert b"\r\nretry-after: 5\r\n" in await asyncio.wait_for(reader.read(), 10)


async def test_those_far_over_the_limit_are_closed_without_a_word(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SPARE", 2)
    async with start(max_connections=1) as router:
        await router.raw(b"")
        told = [await router.raw(b"") for _ in range(2)]
        reader, _ = await router.raw(b"")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        for reader, writer in told:
            writer.write(GET)
            await refusal(reader, 503, "too-many-connections")


async def test_refused_connections_that_linger_are_closed(start: Start) -> None:
    async with start(max_connections=1) as router:
        await router.raw(b"")
        reader, _ = await router.raw(b"")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)


# --- ends ---------------------------------------------------------------------------------------


@WAYS
async def test_a_client_that_ends_its_side_has_left(start: Start, head: bytes) -> None:
    """As nginx has it: most who do so are gone, and a model's time is dear."""
    left = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.until_left()
        left.set()

    async with start() as router:
        replica = await router.serving(slow)
        reader, writer = await router.raw(head + b"Content-Length: 1\r\n\r\n1")
        assert await until(lambda: replica.requests)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await asyncio.wait_for(left.wait(), 10)


@WAYS
async def test_what_was_answered_before_such_an_end_arrives(start: Start, head: bytes) -> None:
    async with start() as router:
        await router.serving(partial(_big, size=4 << 20))
        reader, writer = await router.raw(head + b"Content-Length: 1\r\n\r\n1")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.write_eof()
        async with asyncio.timeout(10):
            assert await reader.read(1)


async def _big(exchange: Exchange, size: int) -> None:
    await exchange.read_body()
    await exchange.answer(bytes(size))
