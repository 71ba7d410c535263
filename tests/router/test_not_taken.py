"""Requests whose connection no replica takes: they wait, move on, or hear why not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from parts.problems import problem
from parts.replica import Replica, echo
from parts.routed import Routed, model_route, route, routed, until

from longshore.core.names import VersionKey
from longshore.core.routes import VersionRoute
from longshore.core.types import Address, Endpoint, State
from longshore.router import ejection

IRIS = VersionKey("iris", "1")


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


def _to(replica: Replica, endpoint: Endpoint) -> VersionRoute:
    return route(replica).model_copy(update={"endpoints": (endpoint,)})
