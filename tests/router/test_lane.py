"""The fast lane on real sockets: that it is taken when it should be, and that nobody can tell."""

import asyncio
import socket

import pytest
from parts.replica import Exchange
from parts.routed import Routed, model_route, route, until

HEAD = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Read a sized answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.split("\r\n")[:-2]
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return lines[0].split()[1], headers, body


async def test_a_common_request_takes_it(router: Routed, taken: list[bool]) -> None:
    await router.serving()
    answer = await router.predict(b"[1, 2]")
    assert (answer.content, taken) == (b"[1, 2]", [True])


async def test_both_ways_look_alike_to_the_replica_and_to_the_client(
    router: Routed, taken: list[bool]
) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"body", "299 Odd", (b"X-A: 1", b"x-a: 2", b"Keep-Alive: x"))

    replica = await router.serving(behave)
    seen = []
    for extra in ({}, {"te": "trailers"}):
        answer = await router.http.post(
            "/v1/models/iris/predict?q=1",
            content=b"[1]",
            headers={"x-odd": "1", "x-request-id": "mine", "x-forwarded-for": "10.9.8.7", **extra},
        )
        theirs = sorted(replica.last.headers)
        ours = sorted((n.lower(), v) for n, v in answer.headers.raw if n.lower() != b"date")
        seen.append((answer.status_code, answer.content, replica.last.target, theirs, ours))
    assert taken == [True], "the second is unusual"
    assert seen[0] == seen[1]


async def test_pipelined_requests_of_both_kinds_are_answered_in_order(
    router: Routed, taken: list[bool]
) -> None:
    await router.serving()
    common = HEAD + b"Content-Length: 1\r\n\r\n"
    unusual = HEAD + b"TE: trailers\r\nContent-Length: 1\r\n\r\n"
    reader, _ = await router.raw(common + b"1" + common + b"2" + unusual + b"3" + common + b"4")
    bodies = [(await read_answer(reader))[2] for _ in range(4)]
    assert bodies == [b"1", b"2", b"3", b"4"]


async def test_a_client_that_pipelines_and_does_not_read_is_held(router: Routed) -> None:
    # Small enough to be written at once, so that only the next request can be held back.
    content = b"x" * 10_000

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(content)

    replica = await router.serving(answer)
    # With its own buffer small, what is written waits in the router's, 4 MiB in the kernel at most.
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.connect(("127.0.0.1", router.port))
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client.dup())
    writer.write((HEAD + b"Content-Length: 1\r\n\r\n1") * 3000)
    served = -1
    while served < len(replica.requests):
        served = len(replica.requests)
        await asyncio.sleep(0.5)
    assert 0 < served < 1000, "answers that nobody reads are not piled up"
    for _ in range(3000):
        assert len((await read_answer(reader))[2]) == len(content)
    assert len(replica.requests) == 3000
    writer.close()


async def test_a_body_that_comes_bit_by_bit(router: Routed, taken: list[bool]) -> None:
    await router.serving()
    reader, writer = await router.raw(HEAD + b"Content-Length: 6\r\n\r\nab")
    for piece in (b"c", b"de", b"f"):
        await asyncio.sleep(0.02)
        writer.write(piece)
    assert (await read_answer(reader))[2] == b"abcdef"
    assert taken == [True]


async def test_a_head_that_comes_in_two_pieces_takes_the_long_way(
    router: Routed, taken: list[bool]
) -> None:
    await router.serving()
    reader, writer = await router.raw(HEAD)
    await asyncio.sleep(0.05)
    writer.write(b"Content-Length: 1\r\n\r\n1")
    assert (await read_answer(reader))[2] == b"1"
    assert taken == []
    writer.write(HEAD + b"Content-Length: 1\r\n\r\n2")
    assert (await read_answer(reader))[2] == b"2"
    assert taken == [True], "and the next one the lane again"


async def test_an_early_answer_lets_the_rest_of_the_body_run_out(router: Routed) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"no", "400 Bad Request")

    await router.serving(refuse)
    reader, writer = await router.raw(HEAD + b"Content-Length: 6\r\n\r\nab")
    assert (await read_answer(reader))[0] == "400"
    writer.write(b"cdef" + HEAD + b"Content-Length: 1\r\n\r\n1")
    assert (await read_answer(reader))[0] == "400", "the connection goes on with the next request"


async def test_a_connection_whose_replica_said_too_much_is_not_used_again(router: Routed) -> None:
    async def talkative(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 forged\r\n"
        )

    replica = await router.serving(talkative)
    assert (await router.predict()).content == b"ok"
    assert (await router.predict()).content == b"ok"
    assert replica.connections == 2


async def test_a_kept_connection_that_the_replica_closed_is_replaced(router: Routed) -> None:
    async def once(exchange: Exchange) -> None:
        await exchange.answer(await exchange.read_body())
        exchange.writer.close()

    replica = await router.serving(once)
    for number in range(3):
        assert (await router.predict(b"%d" % number)).content == b"%d" % number
        assert await until(lambda: replica.open == 0)
    assert len(replica.requests) == 3


async def test_interim_answers_are_passed_over(router: Routed) -> None:
    async def hint(exchange: Exchange) -> None:
        body = await exchange.read_body()
        await exchange.send(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
        )
        await exchange.answer(body)

    await router.serving(hint)
    answer = await router.predict(b"x")
    assert (answer.status_code, answer.content) == (200, b"x")


async def test_nonsense_from_a_replica_is_a_502(router: Routed) -> None:
    async def garble(exchange: Exchange) -> None:
        await exchange.send(b"I am no HTTP server\r\n\r\n")

    await router.serving(garble)
    answer = await router.predict()
    assert answer.status_code == 502
    assert answer.json()["type"] == "urn:longshore:problem:replica-failed"


async def test_slots_and_meters_are_given_back_whatever_happens(router: Routed) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.reset()

    await router.serving(die)
    for _ in range(5):
        assert (await router.predict()).status_code == 502
    load = router.table.load(route().version.key)
    assert load.in_flight == 0
    assert load.last_answer_at


async def test_requests_for_other_hosts_are_told_off_by_the_long_way(
    router: Routed, taken: list[bool]
) -> None:
    await router.serving()
    foreign = HEAD.replace(b"localhost", b"evil.example")
    reader, _ = await router.raw(foreign + b"Content-Length: 1\r\n\r\n1")
    assert (await read_answer(reader))[0] == "403"
    assert taken == [False]


SMUGGLED = b"GET /v1/models/iris/versions/1/raw/stolen HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOSTILE = {
    "CL.TE": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + SMUGGLED,
    "TE.TE": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "CL.CL": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + SMUGGLED,
    "a bare LF": b"X: y\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "obs-fold": b"X: y\r\n z\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a NUL": b"X: \x00\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a blank before the colon": b"Content-Length : 0\r\n\r\n" + SMUGGLED,
    "a signed length": b"Content-Length: +0\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_nothing_is_smuggled_to_a_replica(router: Routed, case: str) -> None:
    replica = await router.serving()
    reader, _ = await router.raw(HEAD + HOSTILE[case])
    async with asyncio.timeout(10):
        said = await reader.read(1 << 16)
    assert said.startswith(b"HTTP/1.1 400"), said
    async with asyncio.timeout(10):
        while piece := await reader.read(1 << 16):
            said += piece
    assert said.count(b"HTTP/1.1") == 1, "one refusal, and the connection is closed"
    assert all("stolen" not in each.target for each in replica.requests)


async def test_balancing_stays_fair(router: Routed) -> None:
    replicas = [await router.replica() for _ in range(3)]
    await router.table.update(model_route(route(*replicas)))
    await asyncio.gather(*(router.predict() for _ in range(90)))
    counts = [len(each.requests) for each in replicas]
    assert min(counts) >= 20, counts
