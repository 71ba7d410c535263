"""Plugins change, scale and hear of what passes do, and one that raises takes nothing down."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from examples_of import version
from parts.controlled import IRIS, World
from parts.memory_backend import MemoryBackend

from longshore import Backend, Event, Load, ScaleWish, Version, Workload, hookimpl
from longshore.core.errors import Refused
from longshore.core.following import heed
from longshore.core.types import State, Wish


class Plugin:
    """A third party's plugin that takes part in everything that the controller asks."""

    def __init__(self) -> None:
        self.wanted = 2
        self.events: list[str] = []

    @hookimpl
    def longshore_customize_workload(self, version: Version, workload: Workload) -> Workload:
        labels = {**workload.labels, "team": version.key.name}
        return workload.model_copy(update={"labels": labels})

    @hookimpl
    def longshore_scale(self, version: Version, load: Load, replicas: int) -> ScaleWish:
        return ScaleWish(replicas=self.wanted, why=f"as the test wants, of {replicas}")

    @hookimpl
    def longshore_on_event(self, event: Event) -> None:
        self.events.append(f"{event.kind} {event.key}")


async def test_plugins_scale_customize_and_hear_of_it(world: World) -> None:
    plugin = Plugin()
    world.hooks.manager.register(plugin, name="third-party")
    await world.registry.add_version(version(scaling={"min": 1, "max": 3}), [])
    await world.passes()
    assert world.backend.calls == ["apply iris:1 2"]
    assert plugin.events == ["scaled iris:1", "started iris:1", "ready iris:1"]
    first = (await world.registry.decisions(IRIS))[-1]
    assert (first.hook, first.outcome, first.inputs["before"]) == ("longshore_scale", 2, 1)
    scaled = (await world.registry.events(IRIS))[0]
    assert (scaled.kind, scaled.message) == ("scaled", "from 1 to 2: as the test wants, of 0")

    plugin.wanted = 9
    await world.passes()
    assert world.backend.calls[-1] == "apply iris:1 3", "within the user's bounds"
    decision = (await world.registry.decisions(IRIS))[-1]
    assert (decision.hook, decision.plugin, decision.outcome) == (
        "longshore_scale",
        "third-party",
        3,
    )

    plugin.wanted = 1
    await world.passes(1)
    assert world.endpoints() == ["replica-1"]
    await world.passes(1)
    assert world.backend.calls[-1] == "apply iris:1 1"
    assert [each.id for each in world.backend.running[IRIS].replicas] == ["replica-1"]


async def test_a_number_of_replicas_that_is_an_autoscalers_is_left_alone(world: World) -> None:
    world.hooks.manager.register(Plugin(), name="third-party")
    await world.registry.add_version(version(scaling={"min": 1, "max": 5}), [])
    await world.passes()
    before = list(world.backend.calls)
    decided = await world.registry.decisions(IRIS)
    running = world.backend.running[IRIS]
    for number in (1, 4, 4, 1):
        replicas = tuple(
            running.replicas[0].model_copy(update={"id": f"r{each}"}) for each in range(number)
        )
        world.backend.running[IRIS] = running.model_copy(
            update={"replicas": replicas, "autoscaled_to": number}
        )
        await world.passes()
        assert world.backend.calls == before
        assert len(world.endpoints()) == number
    told = [each for each in await world.registry.decisions(IRIS) if each not in decided]
    assert [(each.plugin, each.inputs["before"], each.outcome) for each in told] == [
        ("autoscaler", 1, 4),
        ("autoscaler", 4, 1),
    ]
    assert all("average" not in each.inputs for each in told), "none are kept of it"
    events = [each.message for each in await world.registry.events(IRIS)]
    assert "from 4 to 1: the autoscaler of its backend wants so many" in events


async def test_the_first_scaling_after_a_start_or_a_wake_is_explained(world: World) -> None:
    plugin = Plugin()
    world.hooks.manager.register(plugin, name="third-party")
    await world.registry.add_version(version(scaling={"min": 1, "max": 4}), [])

    async def scalings() -> list[tuple[object, object]]:
        decided = await world.registry.decisions(IRIS)
        return [(e.inputs["before"], e.outcome) for e in decided if e.hook == "longshore_scale"]

    await world.passes()
    assert await scalings() == [(1, 2)]
    world.controller = world.new_controller()
    await world.passes()
    assert await scalings() == [(1, 2)], "as many run as are wanted"
    plugin.wanted = 3
    world.controller = world.new_controller()
    await world.passes()
    assert await scalings() == [(1, 2), (2, 3)], "two run"
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes(3)
    await world.registry.set_wish(IRIS, Wish.RUN, "test")
    await world.passes()
    assert await scalings() == [(1, 2), (2, 3), (1, 3)]


async def test_what_starts_with_as_many_as_it_has_at_least_was_not_scaled(world: World) -> None:
    world.hooks.manager.register(Plugin(), name="third-party")
    await world.registry.add_version(version(scaling={"min": 2, "max": 4}), [])
    await world.passes()
    assert await world.registry.decisions(IRIS) == []
    assert "scaled" not in [each.kind for each in await world.registry.events(IRIS)]


async def test_a_replica_that_drains_gets_no_new_requests_however_long_it_takes(
    world: World,
) -> None:
    plugin = Plugin()
    world.hooks.manager.register(plugin, name="third-party")
    await world.registry.add_version(version(scaling={"min": 1, "max": 3}), [])
    await world.passes()
    assert world.endpoints() == ["replica-1", "replica-2"]
    plugin.wanted = 1
    world.backend.slow = 3600
    await world.passes(3)
    assert world.endpoints() == ["replica-1"]


async def test_a_plugin_that_raises_is_named_and_takes_nothing_down(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        @hookimpl
        def longshore_customize_workload(self, workload: Workload) -> Workload:
            raise RuntimeError("broken")

        @hookimpl
        def longshore_scale(self) -> ScaleWish:
            raise RuntimeError("broken")

        @hookimpl
        def longshore_on_event(self) -> None:
            raise RuntimeError("broken")

    world.hooks.manager.register(Broken(), name="broken-plugin")
    await world.registry.add_version(version(scaling={"min": 1, "max": 3}), [])
    await world.passes()
    assert (await world.status()).state is State.READY
    assert "plugin broken-plugin failed in longshore_scale: RuntimeError: broken" in caplog.text


class Gives:
    """A plugin that is called otherwise than the backend that it brings."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @hookimpl
    def longshore_backend(self) -> Backend:
        return self.backend


async def test_a_backend_with_a_defect_is_told_by_its_plugin_and_hook(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.hooks.manager.register(Gives(world.backend), name="acme")
    world.hooks.at_start("longshore_backend", settings=None)
    await world.registry.add_version(version(), [])
    world.backend.failing = KeyError("Id")
    await world.passes()
    told = "plugin acme failed in longshore_backend (apply iris:1): KeyError: 'Id'"
    status = await world.status()
    assert (status.state, status.reason) == (State.FAILED, told)
    assert "defect" in status.hint
    assert told in caplog.text


async def test_a_backend_that_cannot_be_watched_is_told_by_its_plugin_and_hook(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Blind(MemoryBackend):
        async def watch(self) -> AsyncIterator[None]:
            if not self.running:
                raise OSError("no events")
            yield

    backend = Blind()
    world.hooks.manager.register(Gives(backend), name="acme")
    world.hooks.at_start("longshore_backend", settings=None)
    watching = asyncio.create_task(heed(backend, world.hooks, world.controller.kick, 60))
    await asyncio.sleep(0.01)
    assert not watching.done()
    watching.cancel()
    assert "plugin acme failed in longshore_backend (watch): OSError: no events" in caplog.text


async def test_a_pass_that_a_plugin_refuses_names_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Strict:
        @hookimpl
        def longshore_customize_workload(self) -> Workload:
            raise Refused("not today")

    world.hooks.manager.register(Strict(), name="strict")
    await world.registry.add_version(version(), [])
    async with world.controller.running():
        await asyncio.sleep(0.2)
    assert (
        "controller pass failed: not today (plugin strict in longshore_customize_workload)"
        in caplog.text
    )
