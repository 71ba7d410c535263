"""Several of everything: processes that share a database and a backend, and of which some die."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from examples_of import version
from parts.postgres import Postgres
from parts.replica import Exchange, echo
from parts.roles import Installation, installation, steady
from parts.routed import until
from parts.tcp_proxy import TcpProxy

from longshore.core.names import VersionKey
from longshore.core.types import State, Wish

IRIS, ROSES = VersionKey("iris", "1"), VersionKey("roses", "1")


@pytest.fixture
async def world(tmp_path: Path, postgres: Postgres) -> AsyncIterator[Installation]:
    async with installation(tmp_path, postgres.new_database()) as running:
        yield running


async def answers(
    world: Installation,
    url: str,
    within: float = 30,
    headers: Mapping[str, str] | None = None,
) -> bool:
    """Return whether a call succeeds in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if (await world.http.get(url, headers=headers)).status_code == 200:
            return True
        await asyncio.sleep(0.2)
    return False


async def test_two_controllers_and_two_routers_lose_the_leader(world: Installation) -> None:
    await world.registry.add_version(version(), [])
    first = await world.started("controller")
    assert await world.leader() is first
    second = await world.started("controller")
    routers = [await world.started("router"), await world.started("router", "--workers", "2")]
    for each in routers:
        assert await world.serves(each), each.log
        assert (await world.http.get(f"{each.url}/readyz")).status_code == 200
        # Answered by the leader.
        models = (await world.http.get(f"{each.url}/api/models")).json()["models"]
        assert [each["name"] for each in models] == ["iris"]
        assert (await world.http.get(f"{each.url}/")).text.startswith("<!doctype html>")
        assert (await world.http.get(f"{each.url}/static/main.js")).status_code == 200
        [row] = (await world.http.get(f"{each.url}/api/page/overview")).json()["rows"]
        assert (row["model"], row["state"], row["share"]) == ("iris", "ready", "100.0%")
    async with steady(world, *routers) as statuses:
        killed = time.monotonic()
        first.kill()
        assert await world.leader(other_than=first) is second
        assert time.monotonic() - killed < 15
        # It sees to new versions, too, which routers hear of.
        await world.registry.add_version(version("roses"), [])
        for each in routers:
            assert await world.serves(each, "roses"), each.log
        assert (await world.lease()).epoch == 2
    assert statuses.keys() == {200}, statuses
    assert world.counted("apply iris:1") == 1, "nothing is done twice"
    assert [each for each in world.calls if " apply roses:1" in each] == [
        f"{second.pid} apply roses:1 1"
    ]
    assert world.counted("delete") == 0
    # Without any controller, what is ready is served, and all else says why not.
    second.kill()
    for each in routers:
        assert await world.predict(each) == 200
        refused = await world.http.get(f"{each.url}/api/models")
        assert refused.status_code == 503
        detail = refused.json()["detail"]
        assert re.search("controller that leads does not answer|no controller leads", detail)
        assert (await world.http.get(f"{each.url}/healthz")).status_code == 200
        assert "longshore_requests_total" in (await world.http.get(f"{each.url}/metrics")).text
        assert await each.stop() == 0
        assert "Traceback" not in each.log
    assert world.counted("close") == 0, "containers go on"


async def test_a_new_leader_stops_nothing_that_a_router_is_at_which_it_has_not_heard_of(
    tmp_path: Path, postgres: Postgres
) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    async with installation(tmp_path, postgres.new_database(), waits) as world:
        await world.registry.add_version(version(), [])
        first, second = await world.started("controller"), await world.started("controller")
        router = await world.ready(world.process("router"))
        asking = asyncio.create_task(world.predict(router))
        assert await until(lambda: world.replica.requests, 30), router.log
        router.send(signal.SIGSTOP)
        first.kill()
        assert await world.leader(other_than=first) is second
        await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
        await asyncio.sleep(3)
        assert world.counted("delete") == 0
        router.send(signal.SIGCONT)
        await asyncio.sleep(3)
        assert world.counted("delete") == 0
        go.set()
        assert await asking == 200
        assert await until(lambda: world.counted("delete iris:1"), 30), second.log


async def test_a_router_that_stops_serves_until_load_balancers_have_noticed(
    world: Installation,
) -> None:
    await world.registry.add_version(version(), [])
    await world.started("controller")
    router = world.process("router")
    router.environment["LONGSHORE_STOP_DELAY"] = "3"
    await router.start()
    assert await world.serves(router), router.log
    async with httpx.AsyncClient(base_url=router.url) as kept:
        assert (await kept.get("/healthz")).status_code == 200
        router.send(signal.SIGTERM)
        assert await until(lambda: "stopping in 3 s" in router.log)
        refused = await world.http.get(f"{router.url}/readyz")
        assert (refused.status_code, refused.json()["detail"]) == (503, "this router stops")
        # Also whoever connects only now.
        async with httpx.AsyncClient() as late:
            answer = await late.post(f"{router.url}/v1/models/iris/predict", content="[1]")
            assert answer.status_code == 200
        assert not router.ended
        # Told by the answer, a client knows not to send its next request here.
        async with asyncio.timeout(20):
            answer = await kept.get("/healthz")
            while answer.headers.get("connection") != "close":
                await asyncio.sleep(0.1)
                answer = await kept.get("/healthz")
    assert await until(lambda: router.ended, 20), router.log


async def test_a_leader_that_stood_still_does_nothing_when_it_goes_on(world: Installation) -> None:
    await world.registry.add_version(version(), [])
    slow = world.directory / "shared" / "slow"
    slow.write_text("30")  # longer than the second one takes to start
    first, second = await world.started("controller"), await world.started("controller")
    assert await until(lambda: world.counted("apply iris:1"), 20)
    # In the midst of it.
    first.send(signal.SIGSTOP)
    slow.unlink()
    assert await world.leader(other_than=first) is second
    assert await until(lambda: world.counted("applied iris:1"), 20), second.log
    await world.registry.delete_version(IRIS)
    await world.registry.add_version(version("roses"), [])
    assert await until(lambda: world.counted("delete iris:1"), 20)
    assert await until(lambda: world.counted("applied roses:1"), 20)
    await asyncio.sleep(5)
    before = list(world.calls)
    assert (await world.registry.version(ROSES)).status.state is State.READY
    first.send(signal.SIGCONT)
    assert await until(lambda: "leads no more" in first.log, 20)
    await asyncio.sleep(4)
    assert world.calls == before
    assert [each for each in before if each.startswith(f"{first.pid} ")] == [
        f"{first.pid} apply iris:1 1"
    ]
    assert (await world.registry.version(ROSES)).status.state is State.READY
    assert await world.serves(first, "roses"), "it follows"
    # And it is as good a successor as any.
    second.kill()
    assert await world.leader(other_than=second) is first
    assert world.counted("apply roses:1") == 1


async def test_a_leader_that_loses_sql_gives_way_and_serves_on(world: Installation) -> None:
    await world.registry.add_version(version(), [])
    port = urlsplit(world.database).port
    assert port
    async with TcpProxy("127.0.0.1", port) as proxy:
        through = world.database.replace(f":{port}/", f":{proxy.port}/")
        first = await world.started("up", database=through)
        second = await world.started("up")
        assert await world.leader() is first
        assert await world.serves(first)
        assert await world.serves(second)
        async with steady(world, first, second) as statuses:
            await proxy.stop()
            assert await world.leader(other_than=first) is second
            assert await until(lambda: "leads no more" in first.log, 20)
            await proxy.start()
            # It finds its way back, as a follower.
            assert await answers(world, f"{first.url}/api/models")
        assert statuses.keys() == {200}
    assert world.counted("apply iris:1") == 1
    # A stop of one leaves to the other what it needs.
    assert await first.stop() == 0
    assert world.counted("close") == 0
    assert await world.predict(second) == 200


async def test_the_leader_scales_by_what_a_follower_carries(
    tmp_path: Path, postgres: Postgres
) -> None:
    release = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await exchange.read_body()
        await release.wait()
        await exchange.answer(b"late")

    async with installation(tmp_path, postgres.new_database(), wait) as world:
        scaling = {"min": 1, "max": 3, "target": 1}
        await world.registry.add_version(version(scaling=scaling), [])
        await world.started("up")
        follower, router = await world.started("up"), await world.started("router")
        assert await until(lambda: world.counted("applied iris:1 1"), 20)

        asking = [
            asyncio.create_task(world.serves(each, within=60))
            for each in (follower, router, router)
        ]
        try:
            assert await until(lambda: world.counted("applied iris:1 3"), 30), world.calls
        finally:
            release.set()
        assert all(await asyncio.gather(*asking))


async def test_an_orderly_stop_hands_over_at_once(world: Installation) -> None:
    await world.registry.add_version(version(), [])
    first, second = await world.started("controller"), await world.started("controller")
    assert await until(lambda: world.counted("applied iris:1"), 20)
    assert await first.stop() == 0
    assert await world.leader(within=5) is second
    assert world.counted("apply") == 1


async def test_a_call_to_a_follower_is_the_leaders(world: Installation) -> None:
    await world.registry.add_version(version(), [])
    await world.started("controller")
    second = await world.started("controller")
    assert await until(lambda: world.counted("applied iris:1"), 20)
    path = f"{second.url}/api/models/iris/versions/1"
    assert (await world.http.post(f"{path}/sleep")).status_code == 202
    assert await until(lambda: world.counted("delete iris:1"), 20)
    assert (await world.http.post(f"{path}/wake")).status_code == 202
    assert await until(lambda: world.counted("applied iris:1") == 2, 20)
    report = {"router": "x", "loads": []}
    for url, status in ((second.url, 503), ((await world.leader()).url, 401)):
        refused = await world.http.post(f"{url}/internal/loads", json=report)
        assert refused.status_code == status


async def test_keys_are_checked_by_the_leader_and_reports_have_a_token_of_their_own(
    world: Installation,
) -> None:
    await world.registry.add_version(version(), [])
    controller, router = (world.process(each) for each in ("controller", "router"))
    for each in (controller, router):
        each.environment["LONGSHORE_API_KEY"] = "a-secret"
        await each.start()
    path, given = f"{router.url}/api/models", {"authorization": "Bearer a-secret"}
    # The router looks for who leads every second.
    assert await answers(world, path, headers=given)
    assert (await world.http.get(path)).status_code == 401
    for open_to_all in ("/", "/static/main.js"):
        assert (await world.http.get(router.url + open_to_all)).status_code == 200
    assert await world.predict(router) == 401

    async def report(token: str, body: bytes) -> int:
        headers = {"authorization": f"Bearer {token}"}
        url = f"{controller.url}/internal/loads"
        return (await world.http.post(url, content=body, headers=headers)).status_code

    token = (await world.lease()).token.get_secret_value()
    right = b'{"router": "x", "loads": []}'
    assert await report(token, right) == 200
    assert await report(token, b'{"router": "x", "colour": "green"}') == 422
    assert await report("a-secret", right) == 401
    # A router passes none on, and has none of its own.
    assert (await world.http.post(f"{router.url}/internal/loads", headers=given)).status_code == 404
    assert await until(lambda: world.counted("applied iris:1"), 20)
    await asyncio.sleep(2)
    assert "takes no report" not in router.log


async def test_a_router_needs_a_database_to_share(world: Installation) -> None:
    router = world.process("router")
    del router.environment["LONGSHORE_DATABASE"]
    with pytest.raises(AssertionError, match="a router reads the models from the database"):
        await router.start()
    assert not (router.directory / "state").exists()


async def test_a_controller_on_the_file_of_another_is_refused(world: Installation) -> None:
    up = world.process("up")
    controller = world.process("controller")
    for each in (up, controller):
        del each.environment["LONGSHORE_DATABASE"]
    await up.start()
    controller.directory = up.directory
    with pytest.raises(AssertionError, match=r"another Longshore \(process \d+\) runs"):
        await controller.start()


async def test_a_killed_platform_with_its_own_file_starts_to_act_at_once(
    world: Installation,
) -> None:
    up = world.process("up")
    del up.environment["LONGSHORE_DATABASE"]
    for _ in range(2):
        await up.start()
        # Far sooner than a lease ends.
        assert await until(lambda: "this process leads" in up.log, 3)
        up.kill()
