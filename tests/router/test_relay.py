"""A prediction request on its way through: what arrives, what comes back, and how."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from parts.replica import Exchange
from parts.routed import Routed, model_route, route, until


async def test_a_body_passes_unchanged_to_the_predict_path(router: Routed) -> None:
    replica = await router.serving()
    answer = await router.http.post("/v1/models/iris/predict?explain=1&x=%2F", content=b"\0\xffraw")
    assert (answer.status_code, answer.content) == (200, b"\0\xffraw")
    assert replica.last.method == "POST"
    assert replica.last.target == "/predict?explain=1&x=%2F"
    assert answer.headers["x-longshore-version"] == "iris:1"
    assert answer.headers["x-request-id"] == replica.last.header("x-request-id")


async def test_one_version_can_be_asked(router: Routed) -> None:
    first, second = await router.replica(), await router.replica()
    await router.table.update(model_route(route(first), route(second, number="2")))
    answer = await router.http.post("/v1/models/iris/versions/1/predict", content=b"x")
    assert answer.headers["x-longshore-version"] == "iris:1"
    assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_a_sized_body_stays_sized_and_a_chunked_one_arrives_whole(router: Routed) -> None:
    replica = await router.serving()
    await router.predict(b"x" * 100)
    assert replica.last.all("content-length") == ["100"]
    assert replica.last.header("transfer-encoding") is None

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"y" * 50_000
            await asyncio.sleep(0.01)

    answer = await router.http.post("/v1/models/iris/predict", content=pieces())
    assert answer.content == b"y" * 250_000
    assert replica.last.header("transfer-encoding") == "chunked"


async def test_a_request_is_streamed_before_it_is_complete(router: Routed) -> None:
    arrived = asyncio.Queue[bytes]()

    async def note(exchange: Exchange) -> None:
        async for piece in exchange.pieces():
            arrived.put_nowait(piece)
        await exchange.answer(b"done")

    await router.serving(note)
    _, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    )
    assert await asyncio.wait_for(arrived.get(), 2) == b"one"
    writer.write(b"3\r\ntwo\r\n")
    assert await asyncio.wait_for(arrived.get(), 2) == b"two"


async def test_an_answer_is_streamed_before_it_is_complete(router: Routed) -> None:
    go = asyncio.Event()

    async def events(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"
        )
        await go.wait()
        await exchange.send(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    await router.serving(events)
    async with router.http.stream("POST", "/v1/models/iris/predict") as answer:
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"data: 1\n"
        go.set()
        assert await anext(pieces) == b"data: 2\n"


async def test_a_compressed_answer_stays_compressed(router: Routed) -> None:
    async def compressed(exchange: Exchange) -> None:
        await exchange.answer(b"\x1f\x8bnot really", headers=(b"Content-Encoding: gzip",))

    replica = await router.serving(compressed)
    async with router.http.stream("GET", "/v1/models/iris/versions/1/raw/x") as answer:
        assert b"".join([each async for each in answer.aiter_raw()]) == b"\x1f\x8bnot really"
    assert replica.last.header("accept-encoding") == answer.request.headers["accept-encoding"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_raw_takes_any_method_and_keeps_the_path_as_received(
    router: Routed, method: str
) -> None:
    replica = await router.serving()
    reader, _ = await router.raw(
        f"{method} /v1/models/iris/versions/1/raw/a%2Fb/../%41//c?q=%20&q=+&e HTTP/1.1\r\n"
        "Host: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    assert (replica.last.method, replica.last.target) == (method, "/a%2Fb/../%41//c?q=%20&q=+&e")


async def test_a_redirect_is_the_clients_to_follow_and_a_cookie_stays_the_clients(
    router: Routed,
) -> None:
    async def redirect(exchange: Exchange) -> None:
        await exchange.answer(
            b"", "302 Found", (b"Location: /elsewhere", b"Set-Cookie: a=1", b"Set-Cookie: b=2")
        )

    replica = await router.serving(redirect)
    answer = await router.http.get("/v1/models/iris/versions/1/raw/")
    assert answer.status_code == 302
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    router.http.cookies.clear()
    await router.http.get("/v1/models/iris/versions/1/raw/")
    assert replica.last.header("cookie") is None
    assert len(replica.requests) == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body(router: Routed, status: str) -> None:
    async def empty(exchange: Exchange) -> None:
        length = b"" if status.startswith("204") else b"Content-Length: 5\r\n"
        await exchange.send(f"HTTP/1.1 {status}\r\n".encode() + length + b"ETag: x\r\n\r\n")

    await router.serving(empty)
    for _ in range(2):
        answer = await router.http.get("/v1/models/iris/versions/1/raw/")
        assert (answer.status_code, answer.content) == (int(status[:3]), b"")
        assert answer.headers["etag"] == "x"


async def test_head_tells_the_length_and_has_no_body(router: Routed) -> None:
    async def head(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")

    await router.serving(head)
    for _ in range(2):
        answer = await router.http.head("/v1/models/iris/versions/1/raw/")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "1234"


async def test_an_early_answer_comes_through_while_the_body_is_still_sent(router: Routed) -> None:
    async def early(exchange: Exchange) -> None:
        await exchange.answer(b"no thanks", "403 Forbidden")
        await exchange.until_left()

    await router.serving(early)
    reader, _ = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1000000\r\n\r\nbegin"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
    assert head.startswith(b"HTTP/1.1 403")


async def test_expect_continue_is_answered_here(router: Routed) -> None:
    replica = await router.serving()
    reader, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert (await reader.read()).endswith(b"hi")
    assert replica.last.header("expect") is None


async def test_a_client_that_leaves_while_it_waits_ends_the_exchange(router: Routed) -> None:
    left = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.until_left()
        left.set()

    replica = await router.serving(slow)
    _, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
    )
    key = route().version.key
    assert await until(lambda: replica.requests)
    assert router.table.load(key).in_flight == 1
    writer.close()
    await asyncio.wait_for(left.wait(), 1)
    assert await until(lambda: router.table.load(key).in_flight == 0)
    metrics = (await router.http.get("/metrics")).text
    assert 'status="aborted"' in metrics


async def test_a_client_that_leaves_in_mid_body_ends_the_exchange_unfinished(
    router: Routed,
) -> None:
    replica = await router.serving()
    _, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    )
    assert await until(lambda: replica.requests)
    writer.close()
    assert await until(lambda: replica.failures), "the replica saw an incomplete body"
    assert replica.last.body == b"one"


async def test_a_client_that_leaves_in_mid_answer_ends_the_exchange(router: Routed) -> None:
    left = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await exchange.send(b"1\r\nx\r\n")
        await exchange.until_left()
        left.set()

    await router.serving(endless)
    reader, writer = await router.raw(
        b"GET /v1/models/iris/versions/1/raw/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    await reader.readuntil(b"x\r\n")
    writer.close()
    await asyncio.wait_for(left.wait(), 1)


async def test_back_pressure_holds_a_fast_client(router: Routed) -> None:
    go = asyncio.Event()

    async def patient(exchange: Exchange) -> None:
        await go.wait()
        async for _ in exchange.pieces():
            pass
        await exchange.answer(b"all")

    await router.serving(patient)
    size = 64 * 2**20
    reader, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % size
    )
    sent = 0

    async def push() -> None:
        nonlocal sent
        while sent < size:
            writer.write(bytes(1 << 18))
            await writer.drain()
            sent += 1 << 18

    pushing = asyncio.create_task(push())
    await asyncio.sleep(0.5)
    stalled = sent
    assert stalled < 24 * 2**20, "only kernel buffers may hold more"
    await asyncio.sleep(0.3)
    assert sent == stalled
    go.set()
    await pushing
    assert (await reader.read()).endswith(b"all")


async def test_back_pressure_holds_a_fast_replica(router: Routed) -> None:
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20))
        while sent < 64 * 2**20:
            await exchange.send(bytes(1 << 18))
            sent += 1 << 18

    await router.serving(flood)
    reader, _ = await router.raw(
        b"GET /v1/models/iris/versions/1/raw/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    await asyncio.sleep(0.5)
    stalled = sent
    assert stalled < 24 * 2**20, "only kernel buffers may hold more"
    await asyncio.sleep(0.3)
    assert sent == stalled
    await reader.readuntil(b"\r\n\r\n")
    assert len(await reader.readexactly(64 * 2**20)) == sent == 64 * 2**20


async def test_connections_to_replicas_are_reused_and_not_for_long(router: Routed) -> None:
    replica = await router.serving()
    for _ in range(5):
        await router.predict()
    assert (len(replica.requests), replica.connections) == (5, 1)
    begun = time.monotonic()
    assert await until(lambda: not replica.open, 6)
    assert time.monotonic() - begun < 5, "model servers close theirs after 5 s"


async def test_pipelined_requests_are_answered_in_order(router: Routed) -> None:
    await router.serving()
    one = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n"
    reader, _ = await router.raw(one + b"1" + one + b"2")
    for expected in (b"1", b"2"):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(1) == expected


async def test_a_thousand_at_once_are_all_answered_once(router: Routed) -> None:
    replica = await router.serving(limits={"concurrency": 2000})
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(router.url, connector=connector) as http:

        async def ask(number: int) -> int:
            async with http.post("/v1/models/iris/predict", json=number) as answer:
                return int(await answer.read())

        assert await asyncio.gather(*map(ask, range(1000))) == list(range(1000))
    assert sorted(int(each.body) for each in replica.requests) == list(range(1000))
    load = router.table.load(route().version.key)
    assert load.in_flight == 0
    assert load.rate == pytest.approx(1000 / 60)


async def test_large_bodies_are_not_held(router: Routed) -> None:
    size = 256 * 2**20

    async def mirror(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        async for piece in exchange.pieces():
            await exchange.send(piece)

    await router.serving(mirror)
    before = resident()
    reader, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: %d\r\n\r\n" % size
    )

    async def push() -> None:
        piece = bytes(1 << 18)
        for _ in range(size >> 18):
            writer.write(piece)
            await writer.drain()

    pushing = asyncio.create_task(push())
    await reader.readuntil(b"\r\n\r\n")
    received, most = 0, 0
    while received < size:
        received += len(await reader.read(1 << 18))
        most = max(most, resident())
    await pushing
    assert most - before < 32 * 2**20, "and that includes the client and the replica"


def resident() -> int:
    """Return this process's memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
