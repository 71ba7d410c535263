"""Passive ejection: by the rule, and on real sockets by both ways that a request can take."""

from dataclasses import dataclass

import httpx
import pytest
from parts.replica import Behaviour, Exchange, Replica
from parts.routed import Routed, model_route, route, until

from longshore.router import ejection
from longshore.router.admission import Slot
from longshore.router.errors import Busy


@dataclass
class Kept:
    failures: int = 0
    failed_at: float = 0.0
    out_until: float = 0.0


def test_the_moment_doubles_up_to_a_bound_and_an_answer_ends_it() -> None:
    replica, now, moments = Kept(), 1000.0, []
    for _ in range(9):
        assert ejection.failed(replica, now)
        assert ejection.is_out(replica, now)
        moments.append(replica.out_until - now)
        now = replica.out_until
        assert not ejection.is_out(replica, now)
    assert moments == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    ejection.answered(replica)
    assert ejection.failed(replica, now)
    assert replica.out_until - now == 1


def test_requests_that_fail_together_are_one_failure() -> None:
    replica = Kept()
    assert ejection.failed(replica, 1000)
    assert not ejection.failed(replica, 1000.5)
    assert (replica.failures, replica.out_until) == (1, 1001)


def test_a_clock_that_is_set_back_keeps_nobody_out() -> None:
    replica = Kept()
    ejection.failed(replica, 1_000_000)
    assert not ejection.is_out(replica, 1000)
    assert not ejection.has_just_failed(replica, 1000)


def test_a_replica_may_be_asked_again_soon_however_often_it_failed() -> None:
    replica, now = Kept(), 1000.0
    assert not ejection.has_just_failed(replica, 0.5)
    for _ in range(9):
        ejection.failed(replica, now)
        assert ejection.has_just_failed(replica, now + 0.9)
        now += 1
        assert not ejection.has_just_failed(replica, now)
    assert ejection.is_out(replica, now)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(router: Routed) -> Clock:
    """The clock that the router reads."""
    router.table.clock = clock = Clock()
    return clock


async def dies(exchange: Exchange) -> None:
    await exchange.read_body()
    exchange.writer.close()


async def speaks_something_else(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.send(b"220 smtp.example.com ESMTP\r\n\r\n")
    exchange.writer.close()


async def dies_in_its_answer(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[")
    exchange.writer.close()


async def never_answers(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.until_left()


async def says_it_is_the_callers_fault(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.answer(b"{}", "500 Internal Server Error")


LANE: dict[str, str] = {}
LONG_WAY = {"te": "trailers"}
"""A header that the fast lane leaves alone."""


async def ask(router: Routed, headers: dict[str, str]) -> int:
    try:
        answer = await router.http.post("/v1/models/iris/predict", content=b"[1]", headers=headers)
    except httpx.RemoteProtocolError:  # an answer that broke off
        return 0
    return answer.status_code


async def shared(router: Routed, *replicas: Replica, **limits: float) -> None:
    await router.table.update(model_route(route(*replicas, limits=limits)))


@pytest.mark.parametrize("way", [LANE, LONG_WAY], ids=["lane", "long way"])
@pytest.mark.parametrize("behave", [dies, speaks_something_else, dies_in_its_answer, never_answers])
async def test_a_replica_that_fails_is_left_alone_for_a_moment(
    router: Routed, clock: Clock, behave: Behaviour, way: dict[str, str]
) -> None:
    bad, good = await router.replica(behave), await router.replica()
    await shared(router, bad, good, first_byte=0.3)
    answers = [await ask(router, way) for _ in range(10)]
    assert len(bad.requests) == 1, "one failed, and then it was left alone"
    assert answers.count(200) == len(good.requests) == 9
    clock.now += 1.1
    for _ in range(10):
        await ask(router, way)
    assert len(bad.requests) == 2, "it got one more chance"
    clock.now += 1.1
    for _ in range(4):
        await ask(router, way)
    assert len(bad.requests) == 2, "which it missed, so it has to wait for longer"
    metrics = (await router.http.get("/metrics")).text
    assert 'longshore_ejections_total{model="iris",version="1"} 2.0' in metrics


@pytest.mark.parametrize("way", [LANE, LONG_WAY], ids=["lane", "long way"])
async def test_one_that_refuses_costs_no_request_and_comes_back_when_it_is_well(
    router: Routed, clock: Clock, way: dict[str, str]
) -> None:
    good, refusing = await router.replica(), Replica()
    async with refusing.running():
        pass  # its port is free again
    await shared(router, refusing, good)
    assert [await ask(router, way) for _ in range(6)] == [200] * 6
    (kept,) = [each for each in router.table.choose("iris").replicas if each.failures]
    assert kept.failures == 1, "it was tried once"
    kept.endpoint = good.endpoint
    kept.host = str(good.endpoint.address).encode()
    clock.now += 1.1
    assert [await ask(router, way) for _ in range(2)] == [200] * 2
    assert (kept.failures, kept.out_until) == (0, 0)


@pytest.mark.parametrize("way", [LANE, LONG_WAY], ids=["lane", "long way"])
async def test_an_error_of_the_model_ejects_nobody(router: Routed, way: dict[str, str]) -> None:
    replicas = [await router.replica(says_it_is_the_callers_fault) for _ in range(2)]
    await shared(router, *replicas)
    assert [await ask(router, way) for _ in range(4)] == [500] * 4
    assert [len(each.requests) for each in replicas] == [2, 2]


async def test_the_last_one_is_never_out(router: Routed, clock: Clock) -> None:
    replicas = [await router.replica(dies) for _ in range(2)]
    await shared(router, *replicas)
    assert [await ask(router, LANE) for _ in range(6)] == [502] * 6
    assert await until(lambda: sum(len(each.requests) for each in replicas) == 6)


async def test_one_that_is_out_is_better_than_none(router: Routed) -> None:
    table = router.table
    await table.update(model_route(route(Replica(), Replica(), limits={"concurrency": 1})))
    version = table.choose("iris")
    first = Slot(table, version)
    first.failed()
    second = Slot(table, version)
    assert second.replica is not first.replica
    first.replica.released()
    third = Slot(table, version)
    assert third.replica is first.replica, "no other has a free slot"
    with pytest.raises(Busy):
        Slot(table, version)
