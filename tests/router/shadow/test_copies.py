"""Which requests a shadow gets copies of, what they look like, and how they are counted."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from parts.replica import Exchange
from parts.routed import Routed, hooks_of, model_route, route
from parts.shadowed import PREDICT, SHADOW, Make, Pair, answers_at_once

from longshore.core.types import Shadow, TrafficRule, utc_now
from longshore.plugins import balancing
from longshore.router.table import Table


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
