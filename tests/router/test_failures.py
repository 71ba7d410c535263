"""Replicas that die, refuse and dawdle: what the caller hears, and that nothing is sent twice."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from parts.replica import Behaviour, Exchange, Replica, echo
from parts.routed import Routed, model_route, route, routed, until

from longshore.core.names import VersionKey
from longshore.core.routes import VersionRoute
from longshore.core.types import Address, Endpoint, State
from longshore.router import ejection

IRIS = VersionKey("iris", "1")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Check the form that every error has, and return the document."""
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert answer.status_code == document["status"] == status, document
    assert document["type"] == f"urn:longshore:problem:{slug}"
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.headers["x-request-id"]
    return document


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


@pytest.fixture
async def impatient(state: Path) -> AsyncIterator[Routed]:
    """A router that holds nothing."""
    async with routed(state, hold_requests=0) as running:
        yield running


async def dead(router: Routed) -> VersionRoute:
    """Return a route to a replica that nobody listens at any more."""
    async with Replica().running() as short_lived:
        endpoint = short_lived.endpoint
    return _to(await router.replica(), endpoint)


PATHS = ["/v1/models/iris/predict", "/v1/models/iris/versions/1/raw/predict"]
"""One that the fast lane takes, and one that it does not."""


@pytest.mark.parametrize("path", PATHS)
async def test_a_refused_connection_is_a_503_where_nothing_is_held(
    impatient: Routed, path: str
) -> None:
    router = impatient
    await router.table.update(model_route(await dead(router)))
    document = problem(await router.http.post(path, content=b"[1]"), 503, "unreachable")
    assert "refused the connection" in document["detail"]
    assert "at most 0 requests to it wait already (hold_requests)" in document["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_refused_request_to_a_version_that_was_deleted_meanwhile_is_a_404(
    router: Routed, unreachable: Replica, path: str
) -> None:
    await router.table.update(model_route(route(unreachable, limits={"connect": 0.2})))
    asking = asyncio.create_task(router.http.post(path, content=b"[1]"))
    assert await until(lambda: router.table.load(IRIS).in_flight)
    await router.table.remove("iris")
    document = problem(await asking, 404, "not-found")
    assert "iris:1 was deleted meanwhile" in document["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_refused_request_waits_for_another_replica(router: Routed, path: str) -> None:
    await router.table.update(model_route(await dead(router)))
    asking = [asyncio.create_task(router.http.post(path, content=b"[1]")) for _ in range(20)]
    assert await until(lambda: router.table.load(IRIS).held == 20)
    assert router.table.load(IRIS).in_flight == 0
    alive = await router.serving(echo)
    answers = await asyncio.gather(*asking)
    assert {(each.status_code, each.text) for each in answers} == {(200, "[1]")}
    assert len(alive.requests) == 20
    load = router.table.load(IRIS)
    assert (load.in_flight, load.held) == (0, 0)


@pytest.mark.parametrize("path", PATHS)
async def test_a_refused_request_hears_why_where_no_replica_comes(
    router: Routed, path: str
) -> None:
    await router.table.update(model_route(await dead(router)))
    asking = asyncio.create_task(router.http.post(path, content=b"[1]"))
    assert await until(lambda: router.table.load(IRIS).held)
    await router.table.update(model_route(route(state=State.FAILED, reason="out of memory")))
    document = problem(await asking, 503, "not-ready")
    assert "out of memory" in document["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_refused_request_waits_for_so_long_and_no_longer(state: Path, path: str) -> None:
    async with routed(state, hold_seconds=0.3) as router:
        await router.table.update(model_route(await dead(router)))
        answer = await router.http.post(path, content=b"[1]")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        load = router.table.load(IRIS)
        assert (load.in_flight, load.held) == (0, 0)


async def test_a_caller_that_leaves_meanwhile_gives_its_place_up(router: Routed) -> None:
    await router.table.update(model_route(await dead(router)))
    for path in PATHS:
        with pytest.raises(httpx.ReadTimeout):
            await router.http.post(path, content=b"[1]", timeout=0.2)
    assert await until(lambda: not router.table.load(IRIS).held)
    assert router.table.load(IRIS).in_flight == 0


async def test_a_replica_that_listens_again_gets_those_that_wait(router: Routed) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    endpoint = Endpoint(replica="again", address=Address(host="127.0.0.1", port=port))
    await router.table.update(model_route(_to(await router.replica(), endpoint)))
    asking = asyncio.create_task(router.predict())
    assert await until(lambda: router.table.load(IRIS).held)
    async with Replica(echo).running(port):
        assert (await asking).status_code == 200


async def test_the_connection_goes_on_though_the_body_came_only_after_the_refusal(
    impatient: Routed,
) -> None:
    router = impatient
    await router.table.update(model_route(await dead(router)))
    head = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    reader, writer = await router.raw(head)
    for _ in range(3):
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.startswith(b"HTTP/1.1 503")
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        await reader.readexactly(int(length))
        writer.write(b"hello" + head)


async def test_a_request_moves_on_where_nothing_of_it_was_sent(router: Routed) -> None:
    lives = await router.replica()
    async with Replica().running() as short_lived:
        pass
    await router.table.update(model_route(route(short_lived, lives)))
    for _ in range(6):
        assert (await router.predict(b"once")).status_code == 200
    assert [each.body for each in lives.requests] == [b"once"] * 6
    loads = router.table.load(route().version.key)
    assert loads.in_flight == 0
    assert all(each.in_flight == 0 for v in router.table.versions() for each in v.replicas)


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


@pytest.fixture
def unreachable() -> Iterator[Replica]:
    """A replica that takes no connection, and refuses none."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    callers = [socket.socket() for _ in range(4)]
    for caller in callers:
        caller.setblocking(False)
        caller.connect_ex(("127.0.0.1", port))
    yield Replica(port=port)
    for each in (full, *callers):
        each.close()


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_that_does_not_come_about_is_a_503_where_nothing_is_held(
    impatient: Routed, unreachable: Replica, path: str
) -> None:
    router = impatient
    limits = {"connect": 0.2, "first_byte": 0.1}
    await router.table.update(model_route(route(unreachable, limits=limits)))
    document = problem(await router.http.post(path, content=b"[1]"), 503, "unreachable")
    assert "did not accept the connection within 0.2 s" in document["detail"]
    load = router.table.load(IRIS)
    assert (load.in_flight, load.held) == (0, 0)


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_whose_connection_does_not_come_about_waits_for_another_replica(
    router: Routed, unreachable: Replica, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is for a while where a replica was killed, or its machine."""
    monkeypatch.setattr(ejection, "FIRST", 2)
    await router.table.update(model_route(route(unreachable, limits={"connect": 1})))
    asking = [asyncio.create_task(router.http.post(path, content=b"[1]")) for _ in range(20)]
    assert await until(lambda: router.table.load(IRIS).held == 20)
    alive = await router.serving(echo)
    answers = await asyncio.gather(*asking)
    assert {(each.status_code, each.text) for each in answers} == {(200, "[1]")}
    assert len(alive.requests) == 20


def failures(router: Routed) -> int:
    """Return how often the only replica failed."""
    [version] = router.table.versions()
    [replica] = version.replicas
    return replica.failures


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("refuses", [False, True], ids=["times out", "refuses"])
async def test_it_waits_as_often_as_the_replica_that_is_gone_is_still_in_the_table(
    router: Routed,
    unreachable: Replica,
    path: str,
    refuses: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it is where the engine or the controller is away meanwhile."""
    monkeypatch.setattr(ejection, "FIRST", 0.05)
    limits = {"connect": 0.05, "total": 1}
    gone = await dead(router) if refuses else route(unreachable, limits=limits)
    await router.table.update(model_route(gone))
    asking = [asyncio.create_task(router.http.post(path, content=b"[1]")) for _ in range(20)]
    assert await until(lambda: failures(router) >= 5)
    assert not any(each.done() for each in asking)
    alive = await router.serving(echo)
    answers = await asyncio.gather(*asking)
    assert {(each.status_code, each.text) for each in answers} == {(200, "[1]")}
    assert {float(each.headers["x-longshore-cold-start"]) > 0 for each in answers} == {True}
    assert len(alive.requests) == 20
    load = router.table.load(IRIS)
    assert (load.in_flight, load.held) == (0, 0)


@pytest.mark.parametrize("path", PATHS)
async def test_it_hears_why_where_the_replica_takes_none_for_too_long(
    state: Path, unreachable: Replica, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ejection, "FIRST", 0.05)
    async with routed(state, hold_seconds=0.5) as router:
        await router.table.update(model_route(route(unreachable, limits={"connect": 0.05})))
        answer = await router.http.post(path, content=b"[1]")
        document = problem(answer, 503, "unreachable")
        assert "did not accept the connection within 0.05 s" in document["detail"]
        assert "0.5 s that a request waits (hold_seconds)" in document["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        load = router.table.load(IRIS)
        assert (load.in_flight, load.held) == (0, 0)


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


def _to(replica: Replica, endpoint: Endpoint) -> VersionRoute:
    return route(replica).model_copy(update={"endpoints": (endpoint,)})
