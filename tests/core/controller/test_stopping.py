"""Replicas that stop: requests end first, no stop is taken for a failure, and a wake may come."""

import asyncio

from examples_of import version
from parts.controlled import IRIS, World
from parts.memory_backend import MemoryBackend

from longshore import VersionKey
from longshore.core.controller import Controller
from longshore.core.errors import Unavailable
from longshore.core.types import State, Wish
from longshore.router.admission import Slot


async def test_requests_in_flight_finish_before_their_replica_goes(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    drained: list[object] = []
    original = world.table.drain

    async def drain(replicas: object, within: float) -> bool:
        drained.append(replicas)
        assert world.backend.calls == ["apply iris:1 1"], "still running while it drains"
        assert world.endpoints() == [], "no new requests by then"
        return await original([], within)

    world.table.drain = drain  # type: ignore[method-assign]
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes()
    assert drained == [["replica-1"]]
    assert world.backend.calls[-1] == "delete iris:1"
    assert (await world.status()).state is State.ASLEEP


class Keeping(MemoryBackend):
    """Keeps one container of what sleeps."""

    async def rest(self, key: VersionKey) -> None:
        self.calls.append(f"rest {key}")
        before = self.running[key]
        self.running[key] = before.model_copy(update={"replicas": (), "kept": 1})


async def test_a_backend_that_keeps_containers_lets_what_sleeps_rest_and_deletes_the_rest(
    world: World,
) -> None:
    backend = Keeping()
    world.controller = Controller(
        world.registry,
        {backend.name: backend},
        world.hooks,
        world.table,
        interval=3600,
        now=world.clock,
    )
    await world.registry.add_version(version(), [])

    async def wished(wish: Wish) -> State:
        await world.registry.set_wish(IRIS, wish, "test")
        await world.passes(3)
        return (await world.status()).state

    assert await wished(Wish.RUN) is State.READY
    assert await wished(Wish.SLEEP) is State.ASLEEP
    assert await wished(Wish.RUN) is State.READY
    assert await wished(Wish.SLEEP) is State.ASLEEP
    assert await wished(Wish.COLLECT) is State.COLLECTED
    assert await wished(Wish.SLEEP) is State.ASLEEP
    assert await wished(Wish.RUN) is State.READY
    assert await wished(Wish.SLEEP) is State.ASLEEP
    await world.registry.delete_version(IRIS)
    await world.passes(3)
    apply, rest, delete = "apply iris:1 1", "rest iris:1", "delete iris:1"
    assert backend.calls == [apply, rest, apply, rest, delete, apply, rest, delete]


async def test_a_wake_right_after_a_sleep_does_not_take_the_stop_for_a_failure(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.backend.held = asyncio.Event()
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes()
    # Stopped, and not removed yet: this is what the engine lists while it is at it.
    world.backend.kill(IRIS, "exited with code 0")
    await world.registry.set_wish(IRIS, Wish.RUN, "test")
    await world.passes()
    assert (await world.status()).state is State.STARTING
    stale = world.backend.running[IRIS]
    world.backend.held.set()
    for _ in range(20):
        await asyncio.sleep(0)
    # A list that was read just before the removal ended still has it.
    world.backend.running[IRIS] = stale
    await world.passes(3)
    status = await world.status()
    assert (status.state, status.failures) == (State.READY, 0)


async def test_a_removal_that_was_cut_off_is_done_again(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    remove = world.backend.delete

    async def cut_off(key: VersionKey) -> None:
        world.backend.kill(key, "exited with code 0")
        world.backend.delete = remove  # type: ignore[method-assign]
        raise Unavailable("the engine went away when the replica was stopped")

    world.backend.delete = cut_off  # type: ignore[method-assign]
    await world.passes(3)
    assert world.backend.running == {}


async def test_woken_while_its_last_requests_are_waited_for_it_stays(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    with Slot(world.table, world.table.version("iris", "1")):
        await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
        await world.passes()
        assert world.endpoints() == []
        await world.registry.set_wish(IRIS, Wish.RUN, "test")
        await world.passes(3)
        assert world.endpoints() == ["replica-1"], "nothing was stopped yet"
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1"]


async def test_woken_while_it_is_removed_nothing_goes_to_what_is_on_its_way_out(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.backend.held = asyncio.Event()
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes()
    await world.registry.set_wish(IRIS, Wish.RUN, "test")
    await world.passes()
    assert world.endpoints() == []
    world.backend.held.set()
    await world.passes(3)
    assert world.endpoints() == ["replica-2"]
