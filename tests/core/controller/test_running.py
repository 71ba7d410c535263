"""What is registered runs, is found again, comes back when it is lost, and is routed."""

import asyncio

import pytest
from examples_of import NOON, version
from parts.controlled import IRIS, World

from longshore import Load, VersionKey
from longshore.core.types import ReplicaState, State, Wish
from longshore.router.admission import Slot


async def test_a_registered_version_runs_and_is_routed(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1"]
    assert (await world.status()).state is State.READY
    assert world.endpoints() == ["replica-1"]


async def test_passes_without_a_difference_change_nothing(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes(3)
    before = await world.registry.version(IRIS)
    await world.passes(3)
    assert world.backend.calls == ["apply iris:1 1"]
    assert await world.registry.version(IRIS) == before


async def test_a_new_controller_adopts_what_runs(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.controller = world.new_controller()
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1"]


async def test_backends_hear_of_all_that_may_run_also_of_what_sleeps(world: World) -> None:
    for name in ("iris", "roses", "tulips"):
        await world.registry.add_version(version(name), [])
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a test")
    await world.registry.set_wish(VersionKey("roses", "1"), Wish.COLLECT, "a test")
    await world.passes()
    assert world.backend.expected == {IRIS: 0, VersionKey("tulips", "1"): 0}
    assert world.elsewhere.expected == {}
    await world.registry.delete_version(IRIS)
    await world.passes()
    assert world.backend.expected == {VersionKey("tulips", "1"): 0}


async def test_a_backend_that_fails_to_get_ready_is_no_versions_fault(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.backend.expecting_fails = True
    await world.registry.add_version(version(), [])
    await world.passes()
    assert (await world.status()).state is State.READY
    told = "plugin engine failed in longshore_backend (get ready for versions): RuntimeError"
    assert told in caplog.text


async def test_everything_lost_but_sql_comes_back(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.backend.running.clear()
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1", "apply iris:1 1"]
    assert (await world.status()).state is State.READY


async def test_of_many_that_are_lost_the_most_called_come_back_first(world: World) -> None:
    rates = {"asters": 1, "iris": 0, "roses": 7, "tulips": 3}
    for name in rates:
        await world.registry.add_version(version(name), [])
    await world.passes()
    loads = [Load(key=VersionKey(name, "1"), rate=rate) for name, rate in rates.items()]
    await world.registry.save_loads(loads)
    world.backend.running.clear()
    world.backend.calls.clear()
    world.controller = world.new_controller()
    await world.passes()
    assert world.backend.calls == [
        "apply roses:1 1",
        "apply tulips:1 1",
        "apply asters:1 1",
        "apply iris:1 1",
    ]


async def test_when_a_version_was_last_called_outlives_the_start_of_another_controller(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    called = Load(key=IRIS, in_flight=2, last_request_at=NOON, last_answer_at=NOON)
    await world.registry.save_loads([called])
    await world.passes()
    world.clock.forward(31)
    await world.passes()
    at_rest = called.model_copy(update={"in_flight": 0})
    assert await world.registry.loads() == {IRIS: at_rest}
    world.clock.forward(31)
    with Slot(world.table, world.table.version("iris", "1")):
        await world.passes()
        assert (await world.registry.loads())[IRIS].in_flight == 1


async def test_replicas_that_were_adopted_and_not_probed_yet_are_not_told_as_gone(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    running = world.backend.running[IRIS]
    unknown = running.replicas[0].model_copy(update={"state": ReplicaState.STARTING})
    world.backend.running[IRIS] = running.model_copy(update={"replicas": (unknown,)})
    await world.passes()
    assert (await world.registry.events(IRIS))[-1].message == "no replica is ready"


async def test_a_killed_replica_is_replaced(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.clock.forward(61)
    world.backend.kill(IRIS)
    await world.passes(1)
    assert world.endpoints() == []
    await world.passes(1)
    assert world.endpoints() == ["replica-2"]


async def test_one_slow_start_keeps_nobody_else_waiting(world: World) -> None:
    world.backend.slow = 3600
    await world.registry.add_version(version(), [])
    await world.controller.converge_once()
    await asyncio.sleep(0)
    world.backend.slow = 0
    await world.registry.add_version(version("roses"), [])
    await world.passes()
    assert (await world.status()).state is State.STARTING
    roses = await world.registry.version(VersionKey("roses", "1"))
    assert roses.status.state is State.READY
    assert world.backend.calls.count("apply iris:1 1") == 1, "never twice at once"


async def test_the_loop_runs_by_itself_and_answers_a_kick(world: World) -> None:
    async with world.controller.running():
        await world.registry.add_version(version(), [])
        world.controller.kick()
        for _ in range(500):
            if (await world.status()).state is State.READY:
                break
            await asyncio.sleep(0.02)
    assert world.controller.passes >= 2


async def test_an_unready_replica_gets_no_requests(world: World) -> None:
    world.backend.state = ReplicaState.STARTING
    await world.registry.add_version(version(), [])
    await world.passes()
    assert world.endpoints() == []
    assert (await world.status()).state is State.STARTING
