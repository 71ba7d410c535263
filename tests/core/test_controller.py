import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pluggy
import pytest
from examples_of import NOON, replica, version
from parts.memory_backend import MemoryBackend
from parts.routed import until

from longshore import Event, Load, ScaleWish, Version, VersionKey, Workload, hookimpl
from longshore.core import controller, hookspecs
from longshore.core.controller import Controller
from longshore.core.convergence import Step, converge, workload_of
from longshore.core.errors import Unavailable, WorkloadFailed
from longshore.core.hooks import Hooks
from longshore.core.types import (
    ReplicaState,
    State,
    VersionRecord,
    VersionStatus,
    Wish,
    WorkloadStatus,
)
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.admission import Slot
from longshore.router.errors import NotReady
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class World:
    registry: SqlRegistry
    backend: MemoryBackend
    elsewhere: MemoryBackend
    table: Table
    hooks: Hooks
    controller: Controller
    clock: Clock
    new_controller: Callable[[], Controller]

    async def status(self) -> VersionStatus:
        return (await self.registry.version(IRIS)).status

    async def passes(self, number: int = 2) -> None:
        """Make passes, and let the work that each starts come to its end."""
        for _ in range(number):
            await self.controller.converge_once()
            for _ in range(20):
                await asyncio.sleep(0)

    def endpoints(self) -> list[str]:
        """Return the replicas that routers send requests to."""
        routed = (each for each in self.table.versions() if each.key == IRIS)
        return [replica.endpoint.replica for each in routed for replica in each.replicas]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks, backend, clock = Hooks(manager), MemoryBackend(), Clock()
    elsewhere = MemoryBackend(name="elsewhere")
    backends = {each.name: each for each in (backend, elsewhere)}
    table = Table(hooks)

    def new_controller() -> Controller:
        return Controller(registry, backends, hooks, table, interval=3600, now=clock)

    yield World(registry, backend, elsewhere, table, hooks, new_controller(), clock, new_controller)
    await registry.close()


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


async def test_a_backend_that_fails_to_get_ready_is_no_versions_fault(world: World) -> None:
    world.backend.expecting_fails = True
    await world.registry.add_version(version(), [])
    await world.passes()
    assert (await world.status()).state is State.READY


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


async def test_a_killed_replica_is_replaced(world: World) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.clock.forward(61)
    world.backend.kill(IRIS)
    await world.passes(1)
    assert world.endpoints() == []
    await world.passes(1)
    assert world.endpoints() == ["replica-2"]


async def test_while_sql_is_away_warm_models_are_served_and_repaired(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.clock.forward(61)

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    working = world.registry.models, world.registry.save_status
    world.registry.models = world.registry.save_status = away  # type: ignore[method-assign,assignment]
    assert world.endpoints() == ["replica-1"]
    world.backend.kill(IRIS)
    with caplog.at_level(logging.WARNING):
        await world.passes()
    assert world.endpoints() == ["replica-2"]
    assert "the database does not answer" in caplog.text
    world.registry.models, world.registry.save_status = working  # type: ignore[method-assign]
    await world.passes()
    assert (await world.status()).state is State.READY


async def test_while_the_engine_is_away_nothing_is_changed_and_users_are_told(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.backend.away = True
    await world.passes()
    assert world.endpoints() == ["replica-1"], "it may well be serving"
    assert "does not answer: the engine is away" in (await world.status()).reason
    world.backend.away = False
    await world.passes()
    assert (await world.status()).reason == ""
    assert world.backend.calls == ["apply iris:1 1"]


async def test_a_backend_that_tells_what_it_has_and_takes_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Workload) -> None:
        raise Unavailable("the API does not accept the credentials", hint="renew them")

    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "apply", refuse)
        await world.registry.add_version(version(), [])
        await world.passes()
        status = await world.status()
        assert status.state is State.STARTING
        assert status.reason == (
            "backend engine does not answer: the API does not accept the credentials"
        )
        assert status.hint == "renew them"
        assert status.failures == 0
    await world.passes(3)
    status = await world.status()
    assert (status.state, status.reason, status.hint) == (State.READY, "", "")


async def test_a_backend_that_takes_no_change_is_not_asked_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def refuse(workload: Workload) -> None:
        asked.append(workload)
        raise Unavailable("the API does not accept the credentials")

    monkeypatch.setattr(world.backend, "apply", refuse)
    monkeypatch.setattr(world.controller, "_interval", 60)
    await world.registry.add_version(version(), [])
    async with world.controller.running():
        await asyncio.sleep(1)
    assert 1 <= len(asked) <= 3


async def test_a_backend_that_is_not_enabled_fails_its_versions_only(world: World) -> None:
    placement = version().placement.model_copy(update={"backend": "moon"})
    await world.registry.add_version(version().model_copy(update={"placement": placement}), [])
    await world.registry.add_version(version("roses"), [])
    await world.passes()
    assert "'moon'" in (await world.status()).reason
    roses = await world.registry.version(VersionKey("roses", "1"))
    assert roses.status.state is State.READY


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
    assert plugin.events == ["started iris:1", "ready iris:1"]

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
    running = world.backend.running[IRIS].model_copy(update={"autoscaled": True})
    for number in (4, 1):
        replicas = tuple(
            running.replicas[0].model_copy(update={"id": f"r{each}"}) for each in range(number)
        )
        world.backend.running[IRIS] = running.model_copy(update={"replicas": replicas})
        await world.passes()
        assert world.backend.calls == before
        assert len(world.endpoints()) == number
    assert not [each for each in await world.registry.decisions(IRIS) if "scale" in each.hook]


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
    assert "plugin broken-plugin raised in longshore_scale" in caplog.text


async def test_a_backend_with_a_bug_fails_its_version_and_not_the_loop(world: World) -> None:
    async def apply(workload: Workload) -> None:
        raise KeyError("a bug")

    world.backend.apply = apply  # type: ignore[method-assign]
    await world.registry.add_version(version(), [])
    await world.passes(3)
    status = await world.status()
    assert status.state is State.FAILED
    assert "KeyError: 'a bug'" in status.reason


async def test_the_loop_runs_by_itself_and_answers_a_kick(world: World) -> None:
    async with world.controller.running():
        await world.registry.add_version(version(), [])
        world.controller.kick()
        for _ in range(500):
            if (await world.status()).state is State.READY:
                break
            await asyncio.sleep(0.02)
    assert world.controller.passes >= 2


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


async def test_an_unready_replica_gets_no_requests(world: World) -> None:
    world.backend.state = ReplicaState.STARTING
    await world.registry.add_version(version(), [])
    await world.passes()
    assert world.endpoints() == []
    assert (await world.status()).state is State.STARTING


async def held(world: World) -> asyncio.Future[object]:
    """Let a request wait for iris; return what becomes of it."""
    found = world.table.version("iris", "1")
    outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    with pytest.raises(NotReady) as why:
        Slot(world.table, found)
    world.table.holding.enter(found, 0, outcome.set_result, why.value)
    return outcome


async def asleep(world: World) -> None:
    """Register iris, and put it to sleep."""
    await world.registry.add_version(version(scaling={"min": 0}), [])
    await world.passes()
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes(3)
    assert (await world.status()).state is State.ASLEEP
    world.backend.calls.clear()


async def test_a_request_wakes_a_sleeping_version_by_whatever_way_it_is_told(
    world: World,
) -> None:
    await asleep(world)
    outcome = await held(world)
    async with world.controller.running():
        # Nobody told the controller: its pass sees that somebody waits.
        async with asyncio.timeout(10):
            assert isinstance(await outcome, Slot)
        assert world.backend.calls == ["apply iris:1 1"]


async def test_doubled_signals_start_a_version_once_and_at_once(world: World) -> None:
    await asleep(world)
    async with world.controller.running():
        assert await until(lambda: world.controller.passes)
        outcomes = [await held(world) for _ in range(3)]
        for _ in range(10):
            world.controller.wake(IRIS)
            world.controller.kick()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await asyncio.gather(*outcomes)
        await asyncio.sleep(0.1)
    assert world.backend.calls == ["apply iris:1 1"]
    [wake] = await world.registry.wakes(IRIS)
    assert wake.reason == "a request came while it slept"
    told = [each for each in await world.registry.decisions(IRIS) if each.outcome == "run"]
    assert [each.inputs["held"] for each in told] == [3]


async def test_a_controller_that_is_replaced_loses_nobody_who_waits(world: World) -> None:
    await asleep(world)
    world.backend.slow = 3600
    outcome = await held(world)
    async with world.controller.running():
        assert await until(lambda: world.backend.calls)
    assert not outcome.done()
    world.backend.slow = 0
    world.controller = world.new_controller()
    await world.passes(3)
    assert outcome.done()
    assert isinstance(outcome.result(), Slot)


async def test_a_version_that_nobody_calls_goes_to_sleep(world: World) -> None:
    await world.registry.add_version(version(scaling={"min": 0, "idle": 600}), [])
    await world.passes()
    world.clock.forward(590)
    await world.passes()
    assert world.endpoints() == ["replica-1"]
    world.clock.forward(20)
    await world.passes(3)
    assert world.backend.calls[-1] == "delete iris:1"
    assert (await world.status()).state is State.ASLEEP
    decision = (await world.registry.decisions(IRIS))[-1]
    assert (decision.outcome, decision.inputs["in_flight"]) == ("sleep", 0)
    assert "610 s" in decision.why
    assert (await world.registry.events(IRIS))[-2].message.startswith("sleep: nobody")


async def test_a_version_is_kept_warm_in_its_time(world: World) -> None:
    scaling = {"min": 0, "idle": 600, "warm": ["thu 13:00-14:00 UTC"]}
    await world.registry.add_version(version(scaling=scaling), [])

    async def after(minutes: float) -> State:
        world.clock.forward(60 * minutes)
        await world.passes(4)
        return (await world.status()).state

    assert await after(0) is State.READY
    assert await after(15) is State.ASLEEP, "a quarter past twelve"
    assert await after(44.5) is State.ASLEEP
    assert await after(1) is State.READY, "half a minute past one"
    assert await after(50) is State.READY
    decision = (await world.registry.decisions(IRIS))[-1]
    assert (decision.outcome, decision.why) == ("run", "it is kept warm thu 13:00-14:00 UTC")
    assert await after(15) is State.ASLEEP, "past two"
    assert await after(5 * 24 * 60) is State.ASLEEP
    assert await after(2 * 24 * 60 - 60) is State.READY, "the next Thursday"
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
    assert await after(5) is State.ASLEEP
    assert [each.held for each in await world.registry.wakes(IRIS)] == [0, 0]


class Expecting:
    """Expects a call in the first hour of each day, where there ever was one."""

    @hookimpl
    def longshore_expect_calls(self, calls: Sequence[datetime], at: datetime) -> str | None:
        return f"{len(calls)} came before" if at.hour == 0 else None


async def test_a_version_is_awake_when_calls_are_expected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.registry.add_version(version(scaling={"min": 0, "idle": 600}), [])
    other = version(number="2", scaling={"min": 0, "idle": 600})
    await world.registry.add_version(other, [])
    world.hooks.manager.register(Expecting(), name="expecting")

    async def at(text: str) -> State:
        world.clock.time = datetime.fromisoformat(f"2026-01-{text}+00:00")
        await world.passes(4)
        return (await world.status()).state

    called = Load(key=IRIS, last_request_at=NOON, last_answer_at=NOON)
    monkeypatch.setattr(world.table, "loads", lambda: [called, Load(key=other.key)])
    assert await at("01T12:00:00") is State.READY
    assert await at("01T12:30:00") is State.ASLEEP
    assert await at("01T23:58:00") is State.ASLEEP
    assert await at("01T23:59:45") is State.READY, "half a minute before"
    decision = (await world.registry.decisions(IRIS))[-1]
    assert (decision.outcome, decision.why) == ("run", "1 came before")
    assert decision.plugin == "expecting"
    assert await at("02T00:45:00") is State.READY, "and stays so, though it is idle"
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
    assert await at("02T00:50:00") is State.ASLEEP, "a user is obeyed"
    assert await at("02T12:00:00") is State.ASLEEP
    assert await at("03T00:10:00") is State.READY, "until they are expected anew"
    assert await at("03T01:30:00") is State.ASLEEP
    assert (await world.registry.version(other.key)).status.state is State.ASLEEP, "never called"


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


async def test_what_is_at_rest_is_left_alone_until_something_about_it_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = Counter[VersionKey]()

    def counted(record: VersionRecord, *arguments: Any, **more: Any) -> Step:
        decided[record.version.key] += 1
        return converge(record, *arguments, **more)

    monkeypatch.setattr(controller, "converge", counted)
    await asleep(world)
    await world.passes(2)
    before = decided[IRIS]
    await world.passes(5)
    assert decided[IRIS] == before, "a thousand that sleep are to cost next to nothing"

    # Somebody starts a container by hand, or one that was believed to be gone is not.
    runs = WorkloadStatus(key=IRIS, fingerprint="of old", replicas=(replica(),))
    world.backend.running[IRIS] = runs
    await world.passes(2)
    assert world.backend.calls == ["delete iris:1"]

    world.backend.away = True
    await world.passes(2)
    assert "does not answer" in (await world.status()).reason
    world.backend.away = False
    await world.passes(2)
    assert (await world.status()).reason == ""

    await world.registry.set_wish(IRIS, Wish.RUN, "test")
    await world.passes(2)
    assert world.backend.calls == ["delete iris:1", "apply iris:1 1"]
