"""Shadows on real sockets: what they get, and that no caller notices anything of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from parts.replica import Behaviour, Exchange, Replica, echo
from parts.routed import Routed, hooks_of, model_route, route, routed, until

from longshore.core.names import VersionKey
from longshore.core.types import Shadow, State, TrafficRule, utc_now
from longshore.plugins import balancing
from longshore.router.meter import Meter
from longshore.router.shadow import Bounds, Shadows
from longshore.router.table import Table

MIB = 1 << 20
PREDICT = "/v1/models/iris/predict"
SHADOW = VersionKey("iris", "2")


@dataclass
class Pair:
    """A router, a version that answers and one that gets copies."""

    router: Routed
    primary: Replica
    shadow: Replica

    @property
    def meter(self) -> Meter:
        """What was counted of the copies."""
        meter = self.router.table.version("iris", "2").shadow_meter
        assert meter, "nothing was ever to be copied"
        return meter

    async def became(self, what: str, times: int = 1) -> None:
        """Wait until so many copies became this, and check that all of them came to an end."""
        assert await until(lambda: self.meter.copies[what] >= times, 20), self.meter.copies
        assert self.meter.copies[what] == times
        assert self.meter.in_flight == self.meter.held == 0
        assert self.router.table.load(SHADOW).in_flight == 0


Make = Callable[..., Awaitable[Pair]]


async def shadowed(
    router: Routed,
    behave: Behaviour = echo,
    primary: Behaviour = echo,
    limits: Mapping[str, float] | None = None,
) -> Pair:
    """Route iris to version 1, and copies of all requests to version 2."""
    first, second = await router.replica(primary), await router.replica(behave)
    rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
    await router.table.update(
        model_route(route(first), route(second, number="2", limits=limits), rule=rule)
    )
    return Pair(router, first, second)


@pytest.fixture
def pair(router: Routed) -> Make:
    """Make a pair of a router with the usual bounds."""
    return partial(shadowed, router)


async def never(exchange: Exchange) -> None:
    """Read all and answer nothing."""
    await exchange.read_body()
    await exchange.until_left()


async def deaf(exchange: Exchange) -> None:
    """Read nothing of the body."""
    await asyncio.sleep(60)


async def endless(exchange: Exchange) -> None:
    """Answer without an end."""
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not exchange.writer.is_closing():
        await exchange.send(b"4\r\nmore\r\n")
        await asyncio.sleep(0.01)


async def test_a_copy_is_the_request_with_a_mark(pair: Make) -> None:
    both = await pair()
    answer = await both.router.http.post(
        f"{PREDICT}?q=1",
        content=b"[1, 2]",
        headers={"x-odd": "1", "x-request-id": "mine", "x-forwarded-for": "10.9.8.7"},
    )
    assert (answer.content, answer.headers["x-longshore-version"]) == (b"[1, 2]", "iris:1")
    await both.became("sent")
    primary, shadow = both.primary.last, both.shadow.last
    assert (shadow.method, shadow.target, shadow.body) == ("POST", "/predict?q=1", b"[1, 2]")
    assert shadow.all("x-longshore-shadow") == ["iris:1"]
    own = {b"host", b"x-longshore-shadow"}
    assert sorted(each for each in shadow.headers if each[0] not in own) == sorted(
        each for each in primary.headers if each[0] not in own
    )


@pytest.mark.parametrize("unusual", [{}, {"te": "trailers"}], ids=["lane", "long way"])
async def test_no_client_can_make_a_request_look_like_a_copy(
    router: Routed, unusual: dict[str, str]
) -> None:
    replica = await router.serving()
    forged = {"X-Longshore-Shadow": "iris:9", **unusual}
    await router.http.post(PREDICT, content=b"1", headers=forged)
    assert replica.last.all("x-longshore-shadow") == []


async def test_chunked_and_empty_bodies_are_copied_too(pair: Make) -> None:
    both = await pair()

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0.01)
            yield b"%d" % number * 1000

    await both.router.http.post(PREDICT, content=chunks())
    await both.became("sent")
    assert both.shadow.last.body == both.primary.last.body != b""
    assert both.shadow.last.all("content-length") == ["5000"]
    await both.router.http.post(PREDICT)
    await both.became("sent", times=2)
    assert (both.shadow.last.body, both.shadow.last.all("content-length")) == (b"", ["0"])


async def test_only_calls_by_the_traffic_rule_are_copied(pair: Make) -> None:
    both = await pair()
    named = "/v1/models/iris/versions/1"
    await both.router.http.post(f"{named}/predict", content=b"1")
    await both.router.http.get(f"{named}/raw/health")
    await both.router.http.post(
        "/v1/predict", json={"model": "iris", "version": "1", "features": []}
    )
    await both.router.predict()
    await both.became("sent")
    assert (len(both.primary.requests), len(both.shadow.requests)) == (4, 1)


async def test_a_uniform_call_is_copied(pair: Make) -> None:
    both = await pair()
    answer = await both.router.http.post("/v1/predict", json={"model": "iris", "features": [[1]]})
    assert answer.json() == {"model": "iris", "version": "1", "predictions": [[1]]}
    await both.became("sent")
    assert json.loads(both.shadow.last.body) == [[1]]
    assert both.shadow.last.header("x-longshore-shadow") == "iris:1"
    assert both.shadow.last.all("content-length") == ["5"]


async def test_a_uniform_call_that_the_shadow_cannot_be_asked_is_answered(pair: Make) -> None:
    both = await pair()
    shadow = route(both.shadow, number="2")
    serving = shadow.version.serving.model_copy(update={"contract": "telepathy"})
    version = shadow.version.model_copy(update={"serving": serving, "created_at": utc_now()})
    rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
    await both.router.table.update(
        model_route(route(both.primary), shadow.model_copy(update={"version": version}), rule=rule)
    )
    answer = await both.router.http.post("/v1/predict", json={"model": "iris", "features": [1]})
    assert answer.json()["predictions"] == [1]
    await both.became("failed unavailable")


async def test_a_version_gets_no_copy_of_what_it_answers_itself(router: Routed) -> None:
    replicas = [await router.replica() for _ in range(2)]
    rule = TrafficRule(weights={"1": 1, "2": 1}, sticky="who", shadow=Shadow(version="2"))
    await router.table.update(
        model_route(route(replicas[0]), route(replicas[1], number="2"), rule=rule)
    )
    answers = [
        (await router.http.post(PREDICT, content=b"1", headers={"who": str(number)})).headers
        for number in range(20)
    ]
    by_first = sum(each["x-longshore-version"] == "iris:1" for each in answers)
    assert 0 < by_first < 20
    both = Pair(router, *replicas)
    await both.became("sent", times=by_first)
    assert len(replicas[1].requests) == 20, "some to answer, and copies of all others"


async def test_a_shadow_never_answers_only_because_it_is_the_newest(router: Routed) -> None:
    first, second = await router.replica(), await router.replica()
    rule = TrafficRule(shadow=Shadow(version="2"))
    await router.table.update(model_route(route(first), route(second, number="2"), rule=rule))
    assert (await router.predict()).headers["x-longshore-version"] == "iris:1"
    await Pair(router, first, second).became("sent")
    await router.table.update(model_route(route(second, number="2"), rule=rule))
    assert (await router.predict()).headers["x-longshore-version"] == "iris:2", "it is all there is"
    assert len(second.requests) == 2


async def test_a_percentage_is_drawn() -> None:
    draws = iter([0.249, 0.25, 0.0, 0.99])
    table = Table(hooks_of(balancing), draw=lambda: next(draws))
    rule = TrafficRule(shadow=Shadow(version="2", percent=25))
    await table.update(model_route(route(), route(number="2"), rule=rule))
    primary = table.choose("iris")
    copied = [table.shadow(primary) is not None for _ in range(4)]
    assert copied == [True, False, True, False]


async def test_a_shadow_that_is_taken_out_of_the_rule_gets_nothing_more(pair: Make) -> None:
    both = await pair()
    await both.router.predict()
    await both.became("sent")
    await both.router.table.update(
        model_route(route(both.primary), route(both.shadow, number="2"), v1=1)
    )
    await both.router.predict()
    assert (len(both.primary.requests), len(both.shadow.requests)) == (2, 1)


# --- what goes wrong with a shadow, and does not show ------------------------------------------


async def answers_at_once(both: Pair, body: bytes = b"[1]") -> None:
    """Check that callers are answered while the shadow is as it is."""
    async with asyncio.timeout(20):
        for _ in range(3):
            answer = await both.router.predict(body)
            assert (answer.status_code, answer.content == body) == (200, True)


async def test_a_shadow_that_never_answers(pair: Make) -> None:
    both = await pair(never, limits={"first_byte": 0.3})
    await answers_at_once(both)
    await both.became("failed time-out", times=3)
    assert both.meter.answers == {"5xx": 3}


async def test_a_shadow_that_never_ends_its_answer(pair: Make) -> None:
    both = await pair(endless, limits={"total": 0.5})
    await answers_at_once(both)
    await both.became("failed time-out", times=3)


async def test_a_shadow_that_does_not_read(pair: Make) -> None:
    # More than what the kernel and the client's buffers take.
    both = await pair(deaf, limits={"total": 1.5})
    await answers_at_once(both, b"x" * (10 * MIB))
    await both.became("failed time-out", times=3)


async def test_a_shadow_that_reads_slowly_gets_all(pair: Make) -> None:
    async def slow(exchange: Exchange) -> None:
        async for piece in exchange.pieces():
            exchange.body += piece
            await asyncio.sleep(0.02)
        await exchange.answer(b"done")

    both = await pair(slow)
    body = bytes(range(256)) * (40 * 1024)
    await answers_at_once(both, body)
    await both.became("sent", times=3)
    assert all(each.body == body for each in both.shadow.requests)


@pytest.mark.parametrize(
    ("found", "runs", "reason"),
    [(State.READY, True, "replica-failed"), (State.ASLEEP, False, "not-ready")],
    ids=["refuses", "absent"],
)
async def test_a_shadow_that_is_not_there(
    router: Routed, found: State, runs: bool, reason: str
) -> None:
    primary, nobody = await router.replica(), Replica()
    shadow = route(*([nobody] if runs else []), number="2", state=found)
    rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
    await router.table.update(model_route(route(primary), shadow, rule=rule))
    both = Pair(router, primary, nobody)
    await answers_at_once(both)
    await both.became(f"failed {reason}", times=3)
    # What never reached a replica is no demand that should keep or get one.
    assert (router.table.load(SHADOW).last_request_at is not None) == runs


@pytest.mark.parametrize("garbage", [b"", b"I am no HTTP server\r\n\r\n"])
async def test_a_shadow_that_dies_or_talks_nonsense(pair: Make, garbage: bytes) -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.send(garbage)
        exchange.writer.close()

    both = await pair(die)
    await answers_at_once(both)
    await both.became("failed replica-failed", times=3)
    assert len(both.shadow.requests) == 3, "a copy is never sent twice"


async def test_a_refusal_of_the_shadow_is_an_answer(pair: Make) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"no", "422 Unprocessable Entity")

    both = await pair(refuse)
    await answers_at_once(both)
    await both.became("sent", times=3)
    assert both.meter.answers == {"4xx": 3}


@pytest.mark.parametrize(
    ("behave", "size"),
    [(never, 3), (deaf, 10 * MIB), (endless, 3)],
    ids=["never", "deaf", "endless"],
)
async def test_no_caller_waits_for_a_shadow(pair: Make, behave: Behaviour, size: int) -> None:
    # Its limits are minutes, so that waiting for it would run into the time-out here.
    both = await pair(behave)
    await answers_at_once(both, b"x" * size)
    assert await until(lambda: both.meter.in_flight == 3)
    assert both.meter.copies == {}


# --- what goes wrong with a request ------------------------------------------------------------


async def test_a_client_that_leaves_in_the_middle_is_not_copied(pair: Make) -> None:
    both = await pair()
    _, writer = await both.router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1000000\r\n\r\n" + b"x" * 300_000
    )
    assert await until(lambda: both.primary.requests)
    assert await until(lambda: both.meter.held > 0)
    writer.close()
    await both.became("dropped incomplete")
    assert both.shadow.requests == []


async def test_a_client_that_leaves_before_its_answer_was_copied(pair: Make) -> None:
    both = await pair(primary=never)
    _, writer = await both.router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n[1]"
    )
    assert await until(lambda: both.primary.requests)
    writer.close()
    await both.became("sent")
    assert both.shadow.last.body == b"[1]"


async def test_a_request_that_is_answered_early_is_not_copied(pair: Make) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"no", "400 Bad Request")
        exchange.writer.close()

    both = await pair(primary=refuse)
    reader, _ = await both.router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    await both.became("dropped incomplete")
    assert both.shadow.requests == []


async def test_a_request_that_no_replica_takes_is_not_copied(router: Routed) -> None:
    shadow = await router.replica()
    rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
    await router.table.update(model_route(route(), route(shadow, number="2"), rule=rule))
    assert (await router.predict()).status_code == 503
    both = Pair(router, Replica(), shadow)
    await until(lambda: both.meter.copies or shadow.requests, 0.3)
    assert (both.meter.copies, shadow.requests) == ({}, [])


# --- bounds ------------------------------------------------------------------------------------


Narrow = Callable[..., Awaitable[Routed]]


@pytest.fixture
async def narrow(state: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Narrow]:
    """Start a router with bounds of a test's own."""
    async with AsyncExitStack() as stack:

        async def start(**bounds: int) -> Routed:
            made = partial(Shadows, bounds=Bounds(**bounds))
            monkeypatch.setattr("longshore.router.app.Shadows", made)
            return await stack.enter_async_context(routed(state))

        yield start


async def drop(both: Pair, reason: str, times: int) -> None:
    """Check that so many copies were dropped, whatever others are on their way."""
    assert await until(lambda: both.meter.copies[f"dropped {reason}"] >= times, 20)
    assert both.meter.copies == {f"dropped {reason}": times}


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_bound_is_not_copied(narrow: Narrow, *, chunked: bool) -> None:
    both = await shadowed(await narrow(body=1000), echo)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100
            await asyncio.sleep(0.01)

    answer = await both.router.http.post(PREDICT, content=chunks() if chunked else b"x" * 1100)
    assert len(answer.content) == 1100
    await drop(both, "body-too-large", 1)
    await both.router.predict(b"x" * 1000)
    await both.became("sent")
    assert len(both.shadow.requests) == 1


async def test_a_body_that_tells_its_length_is_not_even_collected(narrow: Narrow) -> None:
    both = await shadowed(await narrow(body=1000))
    await both.router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1001\r\n\r\n" + b"x" * 100
    )
    assert await until(lambda: both.primary.requests)
    await drop(both, "body-too-large", 1)


async def test_copies_beyond_the_bound_are_dropped(narrow: Narrow) -> None:
    both = await shadowed(await narrow(copies=2), never)
    for _ in range(5):
        assert (await both.router.predict()).status_code == 200
    await drop(both, "copies-in-flight", 3)
    assert await until(lambda: len(both.shadow.requests) == 2)


async def test_bytes_beyond_the_bound_are_dropped(narrow: Narrow) -> None:
    both = await shadowed(await narrow(size=2500), never)
    for _ in range(5):
        assert (await both.router.predict(b"x" * 1000)).status_code == 200
    await drop(both, "bytes-in-flight", 3)
    assert both.meter.held == 2000


async def test_a_shadow_that_hangs_stops_no_other_models_copies(narrow: Narrow) -> None:
    router = await narrow(copies=1, size=10)
    hanging = await shadowed(router, never)
    answering, theirs = await router.replica(), await router.replica()
    rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
    wine = [route(answering, name="wine"), route(theirs, name="wine", number="2")]
    await router.table.update(model_route(*wine, rule=rule))
    for _ in range(3):
        await router.predict()
        await router.predict(name="wine")
        assert await until(lambda: router.table.version("wine", "2").meter.in_flight == 0)
    await drop(hanging, "copies-in-flight", 2)
    assert await until(lambda: len(theirs.requests) == 3)


@pytest.mark.parametrize("bounds", [{"all_copies": 1}, {"all_size": 3}])
async def test_all_copies_together_are_bounded(narrow: Narrow, bounds: dict[str, int]) -> None:
    both = await shadowed(await narrow(**bounds), never)
    for _ in range(3):
        await both.router.predict(b"[1]")
    reason = "copies-in-flight" if "all_copies" in bounds else "bytes-in-flight"
    await drop(both, reason, 2)


async def test_copies_on_their_way_do_not_hold_up_the_end(state: Path) -> None:
    async with asyncio.timeout(20), Replica(never).running() as hanging:
        async with routed(state) as router:
            both = await shadowed(router)
            rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
            shadow = route(hanging, number="2")
            await router.table.update(model_route(route(both.primary), shadow, rule=rule))
            await router.predict()
            assert await until(lambda: both.meter.in_flight == 1)
            meter = both.meter
        assert meter.copies == {"failed cut-off": 1}
        assert meter.answers == {"aborted": 1}


# --- what is told ------------------------------------------------------------------------------


async def test_copies_are_counted_apart_from_what_callers_asked(pair: Make) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"no", "500 Internal Server Error")

    both = await pair(fail)
    await answers_at_once(both)
    await both.became("sent", times=3)
    told = (await both.router.http.get("/metrics")).text.splitlines()
    sent = 'model="iris",outcome="sent",reason="",version="2"'
    assert f"longshore_shadow_copies_total{{{sent}}} 3.0" in told
    assert 'longshore_shadow_requests_total{model="iris",status="5xx",version="2"} 3.0' in told
    assert 'longshore_shadow_request_seconds_count{model="iris",version="2"} 3.0' in told
    assert 'longshore_shadow_copies_in_flight{model="iris",version="2"} 0.0' in told
    answered = [each for each in told if each.startswith("longshore_requests_total")]
    assert answered == ['longshore_requests_total{model="iris",status="2xx",version="1"} 3.0']
    load = both.router.table.load(SHADOW)
    assert load.rate > 0, "by which it is scaled"
    assert load.last_request_at
    assert load.last_answer_at
