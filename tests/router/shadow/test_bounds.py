"""Copies over a bound are dropped and counted; no caller and no other shadow is held up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from parts.replica import Replica, echo
from parts.routed import Routed, model_route, route, routed, until
from parts.shadowed import PREDICT, Pair, never, shadowed

from longshore.core.types import Shadow, TrafficRule
from longshore.router.shadow import Bounds, Shadows

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
