"""What is registered no more goes, and a number that is registered anew is another version."""

import asyncio
from datetime import timedelta

import pytest
from examples_of import NOON, version
from parts.controlled import IRIS, World

from longshore import Version
from longshore.core.convergence import workload_of
from longshore.core.types import State


async def test_what_is_registered_no_more_is_removed(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    await world.registry.delete_version(IRIS)
    await world.passes()
    assert world.backend.calls[-1] == "delete iris:1"
    assert world.backend.running == {}


async def test_a_version_registered_again_while_its_old_replicas_go_waits_for_them(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    await world.registry.delete_version(IRIS)
    await world.controller.converge_once()
    await world.registry.add_version(version(env={"NEW": "1"}), [])
    await world.passes(3)
    assert world.backend.calls == ["apply iris:1 1", "delete iris:1", "apply iris:1 1"]
    assert (await world.status()).state is State.READY


def anew(env: dict[str, str] | None = None) -> Version:
    """The number of ``version()``, deleted and registered again a moment later."""
    moment_later = NOON + timedelta(seconds=1)
    return version(env=env or {}).model_copy(update={"created_at": moment_later})


async def test_a_version_registered_anew_between_two_passes_is_another_version(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    await world.registry.delete_version(IRIS)
    await world.registry.add_version(anew(env={"NEW": "1"}), [])
    await world.controller.converge_once()
    assert world.endpoints() == [], "what still runs is not what was registered"
    await world.passes(3)
    assert world.backend.calls == ["apply iris:1 1", "delete iris:1", "apply iris:1 1"]
    assert (
        world.backend.running[IRIS].fingerprint == workload_of(anew(env={"NEW": "1"})).fingerprint
    )
    assert world.endpoints() == ["replica-2"]


async def test_replicas_that_go_are_no_failure_of_a_version_registered_anew(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    held = asyncio.Event()
    world.backend.held = held
    await world.registry.delete_version(IRIS)
    await world.passes()
    world.backend.kill(IRIS, "exited with code 0")
    await world.registry.add_version(anew(), [])
    await world.passes()
    assert (await world.status()).state is State.STARTING
    assert not (await world.status()).reason
    assert world.backend.calls == ["apply iris:1 1", "delete iris:1"], "the old ones go first"
    held.set()
    await world.passes(3)
    assert (await world.status()).state is State.READY
    assert (await world.status()).failures == 0


def on(backend: str) -> Version:
    """``version()``, deleted and registered again for another backend."""
    placement = version().placement.model_copy(update={"backend": backend})
    return anew().model_copy(update={"placement": placement})


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("back", [False, True])
async def test_a_version_that_moved_to_another_backend_leaves_nothing_behind(
    world: World, restarted: bool, back: bool
) -> None:
    # Either backend may be the one that is asked last.
    there, here = world.elsewhere, world.backend
    old, new = (there, here) if back else (here, there)
    await world.registry.add_version(on(old.name).model_copy(update={"created_at": NOON}), [])
    await world.passes()
    assert IRIS in old.running
    await world.registry.delete_version(IRIS)
    await world.registry.add_version(on(new.name), [])
    if restarted:
        world.controller = world.new_controller()
    await world.passes(3)
    assert (old.calls[-1], old.running) == ("delete iris:1", {})
    assert new.calls == ["apply iris:1 1"]
    assert [each.id for each in new.running[IRIS].replicas] == world.endpoints()
    assert (await world.status()).state is State.READY
