"""Replicas that die, refuse and dawdle: what the caller hears, and that nothing is sent twice."""

import asyncio
import logging

import httpx
import pytest
from parts.problems import problem
from parts.replica import Behaviour, Exchange, Replica, echo
from parts.routed import Routed, model_route, route, until

from longshore.core.names import VersionKey

IRIS = VersionKey("iris", "1")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


async def ends_without_a_word(exchange: Exchange) -> None:
    await exchange.read_body()
    exchange.writer.close()


async def resets(exchange: Exchange) -> None:
    await exchange.read_body()
    exchange.reset()


async def ends_in_the_head(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.send(HEAD[:20])
    exchange.writer.close()


async def speaks_something_else(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.send(b"220 smtp.example.com ESMTP\r\n\r\n")
    exchange.writer.close()


async def asks_for_an_upgrade(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")


@pytest.mark.parametrize(
    "behave",
    [
        ends_without_a_word,
        resets,
        ends_in_the_head,
        speaks_something_else,
        asks_for_an_upgrade,
    ],
)
async def test_a_replica_that_fails_before_its_answer_is_a_502(
    router: Routed, behave: Behaviour
) -> None:
    replica = await router.serving(behave)
    document = problem(await router.predict(), 502, "replica-failed")
    assert document["replica"] == replica.id
    assert "longshore logs iris:1" in document["hint"]
    assert len(replica.requests) == 1


async def test_a_502_names_the_replica_as_its_engine_does(router: Routed) -> None:
    replica = Replica(ends_without_a_word, id="longshore-iris-1-x7k2")
    async with replica.running():
        await router.table.update(model_route(route(replica)))
        document = problem(await router.predict(), 502, "replica-failed")
    assert "replica longshore-iris-1-x7k2 of iris:1 " in document["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("behave", [ends_without_a_word, resets])
async def test_a_request_that_left_is_never_sent_twice(
    router: Routed, behave: Behaviour, method: str
) -> None:
    dying = False

    async def dies_later(exchange: Exchange) -> None:
        await (behave if dying else echo)(exchange)

    replica, spare = await router.replica(dies_later), await router.replica()
    await router.table.update(model_route(route(replica)))
    path = "/v1/models/iris/versions/1/raw/"
    assert (await router.http.request(method, path)).status_code == 200
    # A kept connection is where HTTP clients are tempted, and so is a replica to spare.
    dying = True
    await router.table.update(model_route(route(replica, spare)))
    answers = [await router.http.request(method, path) for _ in range(4)]
    assert {each.status_code for each in answers} == {200, 502}
    assert len(replica.requests) - 1 + len(spare.requests) == 4


async def test_a_replica_that_dies_in_mid_answer_cuts_the_client_off(
    router: Routed, caplog: pytest.LogCaptureFixture
) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(HEAD + b"half")
        exchange.writer.close()

    await router.serving(half)
    with caplog.at_level(logging.WARNING), pytest.raises(httpx.RemoteProtocolError):
        await router.predict()
    assert "died in the middle of its answer" in caplog.text


async def test_a_chunked_answer_that_breaks_off_has_no_clean_end(router: Routed) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await asyncio.sleep(0.05)
        exchange.reset()

    await router.serving(half)
    reader, _ = await router.raw(
        b"GET /v1/models/iris/versions/1/raw/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    everything = await asyncio.wait_for(reader.read(), 2)
    assert everything.endswith(b"4\r\nhalf\r\n"), "no last chunk"


async def test_an_answer_that_ends_with_its_connection(router: Routed) -> None:
    async def until_close(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        await asyncio.sleep(0.05)
        exchange.writer.close()

    await router.serving(until_close)
    assert (await router.http.get("/v1/models/iris/versions/1/raw/")).text == "all of it"


async def test_such_an_answer_that_ends_with_a_reset_is_cut_off(router: Routed) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
        await asyncio.sleep(0.05)
        exchange.reset()

    await router.serving(reset)
    with pytest.raises(httpx.RemoteProtocolError):
        await router.http.get("/v1/models/iris/versions/1/raw/")


async def test_a_replica_that_never_answers_runs_into_the_first_byte_limit(router: Routed) -> None:
    left = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        await exchange.until_left()
        left.set()

    await router.serving(never, limits={"first_byte": 0.2})
    for method, path in (("POST", "predict"), ("GET", "versions/1/raw/")):
        left.clear()
        answer = await router.http.request(method, f"/v1/models/iris/{path}")
        document = problem(answer, 504, "time-out")
        assert (document["phase"], document["limit"]) == ("first byte", 0.2)
        assert "limits.first_byte" in document["hint"]
        await asyncio.wait_for(left.wait(), 1)


async def test_the_first_byte_limit_counts_from_the_requests_last_byte(router: Routed) -> None:
    await router.serving(limits={"first_byte": 0.3})
    reader, writer = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: 5\r\n\r\n"
    )
    for letter in b"slow!":
        writer.write(bytes([letter]))
        await asyncio.sleep(0.12)
    assert (await reader.read()).endswith(b"slow!")


async def test_a_slow_stream_is_no_time_out(router: Routed) -> None:
    async def drips(exchange: Exchange) -> None:
        await exchange.send(HEAD)
        for _ in range(10):
            await asyncio.sleep(0.06)
            await exchange.send(b".")

    await router.serving(drips, limits={"first_byte": 0.2})
    answer = await router.http.get("/v1/models/iris/versions/1/raw/")
    assert answer.text == ".........."


async def test_the_total_limit_before_the_answer(router: Routed) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.until_left()

    await router.serving(never, limits={"total": 0.2})
    document = problem(await router.predict(), 504, "time-out")
    assert document["phase"] == "total"


async def test_the_total_limit_in_mid_answer_cuts_off(router: Routed) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(HEAD + b"half")
        await exchange.until_left()

    await router.serving(half, limits={"total": 0.3})
    with pytest.raises(httpx.RemoteProtocolError):
        await router.http.get("/v1/models/iris/versions/1/raw/")


async def test_a_full_replica_refuses_at_once_with_retry_after(router: Routed) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await go.wait()
        await exchange.answer(b"done")

    replica = await router.serving(waits, limits={"concurrency": 2})
    running = [asyncio.create_task(router.predict()) for _ in range(2)]
    assert await until(lambda: len(replica.requests) == 2)
    answer = await router.predict()
    problem(answer, 503, "busy")
    assert answer.headers["retry-after"] == "1"
    go.set()
    assert [each.status_code for each in await asyncio.gather(*running)] == [200, 200]
    assert (await router.predict()).status_code == 200


async def test_a_body_that_is_announced_as_too_large_is_refused_at_once(small: Routed) -> None:
    replica = await small.serving()
    reader, _ = await small.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n"
    )
    assert (await asyncio.wait_for(reader.readline(), 1)).startswith(b"HTTP/1.1 413")
    assert not replica.requests
    assert (await small.predict(b"x" * 1000)).status_code == 200


async def test_a_body_that_grows_too_large_is_refused_when_it_does(small: Routed) -> None:
    replica = await small.serving()
    reader, writer = await small.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n190\r\n" + bytes(400) + b"\r\n"
    )
    assert await until(lambda: replica.requests)
    writer.write(b"3E8\r\n" + bytes(1000) + b"\r\n")
    assert (await asyncio.wait_for(reader.readline(), 1)).startswith(b"HTTP/1.1 413")
    assert await until(lambda: replica.failures), "the replica did not see a complete body"


async def test_a_management_body_has_the_same_limit(small: Routed) -> None:
    answer = await small.http.post("/v1/predict", json={"model": "iris", "features": ["x" * 1000]})
    assert problem(answer, 413, "body-too-large")["limit"] == 1000
    reader, _ = await small.raw(
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3E9\r\n" + bytes(1001) + b"\r\n"
    )
    assert (await asyncio.wait_for(reader.readline(), 1)).startswith(b"HTTP/1.1 413")
