"""Requests that are cut off, refused or not taken: only what arrived whole is copied."""

from parts.replica import Exchange, Replica
from parts.routed import Routed, model_route, route, until
from parts.shadowed import Make, Pair, never

from longshore.core.types import Shadow, TrafficRule


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
