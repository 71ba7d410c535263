"""Messages at their edges, by either way: interim answers, trailers, expectations, pipelines."""

import asyncio
import contextlib
import socket
import struct

import pytest
from parts.replica import Exchange
from parts.routed import Routed, model_route, route, until

from longshore.core.types import State

LANE = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
RAW = b"POST /v1/models/iris/versions/1/raw/predict HTTP/1.1\r\nHost: localhost\r\n"
WAYS = pytest.mark.parametrize("head", [LANE, RAW], ids=["lane", "long way"])
ONE = b"Content-Length: 1\r\n\r\n1"


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes]:
    """Read an answer that is sized or has no body."""
    async with asyncio.timeout(10):
        first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)
        }
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
    return int(first.split()[1]), headers, body


@WAYS
async def test_interim_answers_end_here(router: Routed, head: bytes) -> None:
    async def hints(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        )
        await exchange.answer(b"last")

    await router.serving(hints)
    reader, writer = await router.raw(head + ONE)
    for _ in range(2):
        status, headers, body = await answer_of(reader)
        assert (status, headers.get(b"link"), body) == (200, None, b"last")
        writer.write(head + ONE)


@WAYS
@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_keep_the_connection_in_step(
    router: Routed, head: bytes, status: int
) -> None:
    async def empty(exchange: Exchange) -> None:
        await exchange.read_body()
        length = b"Content-Length: 5\r\n" if status == 304 else b""
        await exchange.send(b"HTTP/1.1 %d X\r\n%bETag: x\r\n\r\n" % (status, length))

    replica = await router.serving(empty)
    reader, writer = await router.raw(head + ONE)
    for _ in range(3):
        found, headers, _ = await answer_of(reader)
        assert (found, headers[b"etag"]) == (status, b"x")
        assert b"transfer-encoding" not in headers
        writer.write(head + ONE)
    assert replica.connections == 1


async def test_head_gets_the_headers_of_a_chunked_answer_too(router: Routed) -> None:
    async def head(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n")

    await router.serving(head)
    request = RAW.replace(b"POST", b"HEAD") + b"\r\n"
    reader, writer = await router.raw(request)
    for _ in range(2):
        status, headers, _ = await answer_of(reader)
        assert (status, headers[b"x-a"]) == (200, b"b")
        writer.write(request)


async def test_a_trailer_never_passes_for_a_header(router: Routed) -> None:
    replica = await router.serving()
    reader, _ = await router.raw(
        RAW + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n"
        b"Authorization: Bearer forged\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 1\r\n\r\n"
    )
    assert (await answer_of(reader))[0] == 200
    assert replica.last.header("x-forwarded-for") == "127.0.0.1"
    assert not {b"authorization", b"x-sum"} & {name for name, _ in replica.last.headers}


@WAYS
async def test_trailers_of_an_answer_leave_its_body_whole(router: Routed, head: bytes) -> None:
    async def sums(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n"
        )

    await router.serving(sums)
    for _ in range(2):
        reader, _ = await router.raw(head + b"Connection: close\r\n" + ONE)
        raw = await asyncio.wait_for(reader.read(), 10)
        assert b"\r\n\r\n4\r\nbody\r\n0\r\n" in raw
        answer = await router.http.post("/v1/models/iris/predict", content=b"1")
        assert answer.content == b"body"


@WAYS
async def test_who_waits_to_be_asked_is_told_at_once_where_nobody_is_ready(
    router: Routed, head: bytes
) -> None:
    await router.table.update(model_route(route(state=State.FAILED)))
    reader, writer = await router.raw(head + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    status, headers, _ = await answer_of(reader)
    assert (status, headers[b"connection"]) == (503, b"close")
    # What follows could be the body or a request, so nobody reads it.
    with contextlib.suppress(ConnectionError):
        writer.write(RAW + ONE)
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_so_is_who_would_send_too_much(small: Routed) -> None:
    replica = await small.serving()
    for expect in (b"100-continue", b"100-Continue"):
        lines = b"Expect: " + expect + b"\r\nContent-Length: 1001\r\n\r\n"
        reader, _ = await small.raw(LANE + lines)
        status, headers, _ = await answer_of(reader)
        assert (status, headers[b"connection"]) == (413, b"close")
    assert not replica.requests


@WAYS
async def test_who_was_asked_keeps_the_connection(router: Routed, head: bytes) -> None:
    replica = await router.serving()
    reader, writer = await router.raw(head + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert (await answer_of(reader))[0] == 100
    assert not replica.requests or not replica.last.body
    writer.write(b"1" + head + ONE)
    for _ in range(2):
        status, headers, body = await answer_of(reader)
        assert (status, body) == (200, b"1")
        assert b"connection" not in headers


@WAYS
async def test_an_early_answer_leaves_the_connection_in_step(router: Routed, head: bytes) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"no", "403 Forbidden")

    replica = await router.serving(refuse)
    reader, writer = await router.raw(head + b"Content-Length: 60000\r\n\r\nx")
    assert (await answer_of(reader))[0] == 403
    # The rest of the body looks like a request, and is none.
    rest = (RAW.replace(b"predict", b"stolen") + ONE).ljust(59_999, b"x")
    writer.write(rest + head + ONE)
    assert (await answer_of(reader))[0] == 403
    assert [each.target for each in replica.requests] == ["/predict"] * 2


async def test_a_long_pipeline_of_all_kinds(router: Routed) -> None:
    await router.serving()
    kinds = [
        LANE + b"Content-Length: 4\r\n\r\n%04d",
        RAW + b"Content-Length: 4\r\n\r\n%04d",
        RAW + b"Transfer-Encoding: chunked\r\n\r\n2;x\r\n%.2b\r\n2\r\n%.2b\r\n0\r\n\r\n",
        LANE
        + b"Transfer-Encoding: chunked\r\nTE: trailers\r\n\r\n1\r\n%.1b\r\n3\r\n%.3b\r\n0\r\n\r\n",
        LANE + b"TE: trailers\r\nContent-Length: 4\r\n\r\n%04d",
    ]
    requests = []
    for number in range(300):
        text = b"%04d" % number
        kind = number * 7 % 5
        values: dict[int, tuple[object, ...]] = {2: (text[:2], text[2:]), 3: (text[:1], text[1:])}
        requests.append(kinds[kind] % values.get(kind, number))
    reader, writer = await router.raw(b"")
    whole = b"".join(requests)
    # In pieces that end anywhere.
    for start in range(0, len(whole), 997):
        writer.write(whole[start : start + 997])
        await asyncio.sleep(0)
    for number in range(300):
        status, _, body = await answer_of(reader)
        assert (status, body) == (200, b"%04d" % number)


@WAYS
async def test_a_request_that_comes_byte_by_byte(router: Routed, head: bytes) -> None:
    replica = await router.serving()
    reader, writer = await router.raw(b"")
    for letter in head + b"Content-Length: 3\r\n\r\nabc" + head + ONE:
        writer.write(bytes([letter]))
        await asyncio.sleep(0.001)
    assert (await answer_of(reader))[2] == b"abc"
    assert (await answer_of(reader))[2] == b"1"
    assert len(replica.requests) == 2


async def test_a_body_that_goes_wrong_after_its_answer_began_ends_it_without_a_word(
    router: Routed,
) -> None:
    async def early(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nbegin")
        await exchange.until_left()

    replica = await router.serving(early)
    reader, writer = await router.raw(RAW + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n")
    await reader.readuntil(b"begin")
    writer.write(b"no chunk\r\n")
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b"", "a 400 would pass for the answer"
    assert await until(lambda: not replica.open)


async def test_a_client_that_pipelines_and_leaves_is_no_defect(
    router: Routed, caplog: pytest.LogCaptureFixture
) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await go.wait()
        await exchange.answer(b"too late")

    replica = await router.serving(waits)
    with contextlib.closing(socket.create_connection(("127.0.0.1", router.port))) as client:
        client.sendall(RAW + ONE)
        assert await until(lambda: replica.requests)
        client.sendall(RAW + ONE)
        await asyncio.sleep(0.1)
        assert len(replica.requests) == 1, "it waits for its turn"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await asyncio.sleep(0.1)
    go.set()
    assert await until(lambda: router.table.load(route().version.key).in_flight == 0)
    assert "failed" not in caplog.text
