"""What goes wrong with a shadow, and that no caller notices anything of it."""

import asyncio

import pytest
from parts.replica import Behaviour, Exchange, Replica
from parts.routed import Routed, model_route, route, until
from parts.shadowed import SHADOW, Make, Pair, answers_at_once, never

from longshore.core.types import Shadow, State, TrafficRule

MIB = 1 << 20


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
