"""A version that cannot start says why, and is tried again when its wait is over or asked for."""

import asyncio
from datetime import timedelta

from examples_of import NOON, version
from parts.controlled import IRIS, World

from longshore.core.errors import WorkloadFailed
from longshore.core.types import State


async def test_a_version_that_failed_is_tried_again_when_its_wait_is_over(world: World) -> None:
    world.backend.failing = WorkloadFailed("it ended at once")
    await world.registry.add_version(version(), [])
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1"]
    assert (await world.status()).retry_at == NOON + timedelta(seconds=1)
    world.backend.failing = None
    world.clock.forward(0.9)
    async with world.controller.running(), asyncio.timeout(10):
        await asyncio.sleep(0.2)
        world.clock.forward(1)
        # The interval is an hour: what wakes the loop is the wait that is over.
        while len(world.backend.calls) < 2:  # noqa: ASYNC110 - the stand-in sets no event
            await asyncio.sleep(0.01)


async def test_a_start_that_fails_is_told_and_tried_again_later(world: World) -> None:
    world.backend.failing = WorkloadFailed("no such image", hint="push it")
    await world.registry.add_version(version(), [])
    await world.passes(5)
    status = await world.status()
    assert (status.state, status.reason) == (State.FAILED, "no such image")
    assert len(world.backend.calls) == 1, "its back-off is not over"
    world.clock.forward(1)
    await world.passes(5)
    assert (await world.status()).failures == 2
    assert len(world.backend.calls) == 2
    world.backend.failing = None
    world.clock.forward(2)
    await world.passes()
    assert (await world.status()).state is State.READY


async def test_the_back_off_survives_a_restart_of_the_controller(world: World) -> None:
    world.backend.failing = WorkloadFailed("no such image")
    await world.registry.add_version(version(), [])
    await world.passes(3)
    world.controller = world.new_controller()
    await world.passes(3)
    assert len(world.backend.calls) == 1


async def test_somebody_who_asks_gets_the_next_try_at_once(world: World) -> None:
    world.backend.failing = WorkloadFailed("no such image")
    await world.registry.add_version(version(), [])
    await world.passes(3)
    world.controller.retry(IRIS)
    await world.passes(3)
    assert len(world.backend.calls) == 2


async def test_a_try_that_is_overdue_while_its_backend_is_away_keeps_nobody_busy(
    world: World,
) -> None:
    world.backend.failing = WorkloadFailed("no such image")
    await world.registry.add_version(version(), [])
    await world.passes(3)
    world.backend.away = True
    world.clock.forward(100)
    async with world.controller.running():
        before = world.controller.passes
        await asyncio.sleep(1.2)
        assert world.controller.passes - before <= 3
