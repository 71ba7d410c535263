"""The learner: what it measures and writes, and when a plan follows; on a real registry."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pluggy
import pytest
from examples_of import NOON, version
from parts.controlled import passes
from parts.memory_backend import MemoryBackend

from longshore import hookimpl
from longshore.core import hookspecs, learner
from longshore.core.controller import Controller
from longshore.core.errors import Unavailable
from longshore.core.hooks import Hooks
from longshore.core.learner import Learner
from longshore.core.measures import GpuUse, GpuUses, ReplicaUse
from longshore.core.names import VersionKey
from longshore.core.registration import Registration
from longshore.core.settings import Settings
from longshore.core.types import (
    HardwarePlan,
    Model,
    ReplicaState,
    State,
    Version,
    VersionStatus,
    Wish,
    WorkloadStatus,
)
from longshore.hardware.planning import Plugin as Planning
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")
ON_GPU = HardwarePlan(target="gpu", gpu_count=1, gpu_mem_floor_mib=16_000)


@dataclass
class Measuring(MemoryBackend):
    """Tells of each version what a test says."""

    uses: dict[VersionKey, Sequence[ReplicaUse]] = field(default_factory=dict)
    asked: list[Sequence[VersionKey]] = field(default_factory=list)
    unknown: bool = False

    async def measured(
        self, keys: Sequence[VersionKey]
    ) -> Mapping[VersionKey, Sequence[ReplicaUse]]:
        self.asked.append(keys)
        if self.unknown:
            raise Unavailable("the engine is away")
        return {key: self.uses[key] for key in keys if key in self.uses}

    def use(self, mib: int | None, key: VersionKey = IRIS, **fields: Any) -> None:
        self.uses[key] = [ReplicaUse(memory_mib=mib, **fields)]


class Gpus:
    """A plugin that tells of one GPU."""

    def __init__(self) -> None:
        self.used = 9000
        self.calls = 0

    @hookimpl
    def longshore_measure_gpus(self) -> GpuUses:
        self.calls += 1
        return GpuUses(gpus=(GpuUse(uuid="A", used_mib=self.used, processes={7: self.used}),))


@dataclass
class World:
    registry: SqlRegistry
    backend: Measuring
    gpus: Gpus
    hooks: Hooks
    new_learner: Callable[[], Learner]
    learner: Learner
    time: datetime = NOON
    leads: bool = True
    models: Sequence[Model] = ()

    async def ready(self, *versions: Version) -> None:
        for each in versions:
            await self.registry.add_version(each, [])
            await self.status(State.READY, each.key)

    async def status(self, state: State, key: VersionKey = IRIS) -> None:
        await self.registry.save_status({key: VersionStatus(state=state, since=NOON)})

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.time += timedelta(seconds=30)
            self.models = await self.registry.models()
            await self.learner.look()

    async def plan(self, key: VersionKey = IRIS) -> HardwarePlan:
        return (await self.registry.version(key)).version.placement.plan


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(Planning(), name="hardware_plan")
    gpus, backend = Gpus(), Measuring()
    manager.register(gpus, name="gpus")
    hooks = Hooks(manager)
    registration = Registration(Settings(), hooks, {"engine": backend}, registry.measures)

    def new_learner() -> Learner:
        return Learner(
            registry,
            lambda: made.models,
            {"engine": backend},
            hooks,
            registration.replan,
            acts=lambda: made.leads,
            now=lambda: made.time,
        )

    made = World(registry, backend, gpus, hooks, new_learner, new_learner())
    yield made
    await registry.close()


@pytest.mark.parametrize("there", [True, False])
async def test_why_no_plugin_tells_of_gpus_is_kept(world: World, *, there: bool) -> None:
    class Broken:
        @hookimpl
        def longshore_measure_gpus(self) -> GpuUses:
            raise OSError("no driver")

    world.hooks.manager.unregister(name="gpus")
    told = "no enabled plugin answers longshore_measure_gpus"
    if there:
        world.hooks.manager.register(Broken(), name="broken")
        told = "plugin broken failed in longshore_measure_gpus: OSError: no driver"
    await world.ready(planned(version(), HardwarePlan(gpu_count=1)))
    world.backend.use(500, gpus=("A",))
    await world.look()
    (found,) = await world.registry.measures()
    assert found.gpu_memory_unread.endswith(f" is not known: {told}")


async def test_the_most_that_was_seen_is_kept_and_told_in_the_plan(world: World) -> None:
    await world.ready(planned(version(), HardwarePlan(memory_mib=1000)))
    for mib in (500, 950, 700):
        world.backend.use(mib)
        await world.look()
    (found,) = await world.registry.measures()
    assert (found.memory_mib, found.version, found.gpu_memory_unread) == (950, IRIS, "")
    plan = await world.plan()
    assert plan.memory_measured_mib == 950
    assert "is close to what a replica used: 950 MiB, measured while iris:1 ran" in plan.warnings[0]


async def test_little_is_written_of_what_hardly_grows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    add = world.registry.add_measures

    async def counted(found: Any) -> None:
        written.append(found[0].readings)
        await add(found)

    monkeypatch.setattr(world.registry, "add_measures", counted)
    await world.ready(version())
    for number in range(100):
        world.backend.use(1000 + number % 40)
        await world.look()
    # The first one, and each time as many again as are written.
    assert len(written) == 7
    assert (await world.registry.measures())[0].readings == sum(written) == 64
    world.backend.use(1100)
    await world.look()
    assert (await world.registry.measures())[0].memory_mib == 1100
    assert (await world.registry.measures())[0].readings == 101


async def test_measures_survive_a_restart_and_add_up(world: World) -> None:
    await world.ready(version())
    world.backend.use(800)
    await world.look(2)
    world.learner = world.new_learner()
    world.backend.use(300)
    await world.look(2)
    (found,) = await world.registry.measures()
    assert (found.memory_mib, found.readings, found.since) == (800, 4, NOON + timedelta(seconds=30))
    assert found.last_at == NOON + timedelta(seconds=120)
    assert (await world.plan()).memory_measured_mib == 800


async def test_only_who_leads_measures_and_who_takes_over_goes_on_from_what_is_written(
    world: World,
) -> None:
    await world.ready(version())
    world.backend.use(800)
    world.leads = False
    await world.look(2)
    assert world.backend.asked == []
    assert await world.registry.measures() == []
    world.leads = True
    await world.look()
    # Another one led meanwhile, and wrote more than this one knows.
    (found,) = await world.registry.measures()
    world.leads = False
    await world.look()
    await world.registry.add_measures([found.model_copy(update={"memory_mib": 2000})])
    world.leads = True
    world.backend.use(900)
    await world.look()
    assert (await world.registry.measures())[0].memory_mib == 2000
    assert (await world.plan()).memory_measured_mib == 2000


async def test_of_many_versions_some_are_measured_in_turn_and_those_asleep_never(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "MOST", 2)
    await world.ready(*(version(number=str(number)) for number in range(5)))
    await world.status(State.ASLEEP, VersionKey("iris", "4"))
    await world.look(2)
    assert [len(keys) for keys in world.backend.asked] == [2, 2]
    assert {key.version for keys in world.backend.asked for key in keys} == {"0", "1", "2", "3"}
    assert world.gpus.calls == 0


async def test_a_second_version_of_the_same_image_and_settings_is_told_of_the_first(
    world: World,
) -> None:
    first, second = version(), version(number="2", scaling={"min": 0})
    other = version(number="3", env={"SIZE": "large"})
    await world.ready(first)
    world.backend.use(700)
    await world.look()
    await world.registry.add_version(second, [])
    await world.registry.add_version(other, [])
    await world.look()
    told = {each.rule: each.evidence for each in (await world.plan(second.key)).verdicts}
    assert (await world.plan(second.key)).memory_measured_mib == 700
    assert told["measured-memory"].endswith("highest of 2 readings")
    told = {each.rule: each.evidence for each in (await world.plan(other.key)).verdicts}
    assert told["measured-memory"].endswith("with other settings")


def planned(made: Version, plan: HardwarePlan) -> Version:
    placement = made.placement.model_copy(update={"plan": plan})
    return made.model_copy(update={"placement": placement})


def on_gpu() -> Version:
    return planned(version(scaling={"min": 0}), ON_GPU)


async def test_a_floor_follows_only_when_its_version_sleeps(world: World) -> None:
    await world.ready(on_gpu())
    world.backend.use(700, gpus=("A",), processes=frozenset({7}))
    await world.look()
    running = await world.plan()
    # It is told, and nothing that containers are made from has changed.
    assert (running.gpu_mem_measured_mib, running.gpu_mem_floor_mib) == (9000, 16_000)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a test")
    await world.look()
    assert (await world.plan()).gpu_mem_floor_mib == 16_000, "its containers are not gone yet"
    await world.status(State.ASLEEP)
    await world.look()
    asleep = await world.plan()
    assert asleep.gpu_mem_floor_mib == 9000
    assert "8999" in str(asleep.affinity)
    decisions = [each.hook for each in await world.registry.decisions(IRIS)]
    # Told when it was measured, and when it came into force.
    assert decisions.count("longshore_replan_hardware") == 2
    assert world.gpus.calls == 2


async def test_what_cannot_be_measured_has_a_reason_and_changes_no_plan(world: World) -> None:
    await world.ready(version())
    world.backend.use(None, unread="no control group", gpus_unread="nobody tells")
    await world.look()
    (found,) = await world.registry.measures()
    assert (found.memory_unread, found.gpu_memory_unread) == ("no control group", "nobody tells")
    assert await world.plan() == HardwarePlan()
    world.backend.unknown = True
    await world.look()
    assert len(await world.registry.measures()) == 1


def new_controller(world: World) -> Controller:
    backends = {"engine": world.backend}
    return Controller(world.registry, backends, world.hooks, Table(world.hooks), interval=3600)


async def test_replicas_that_run_stay_whatever_becomes_of_their_plan(world: World) -> None:
    controller = new_controller(world)
    await world.registry.add_version(on_gpu(), [])
    await passes(controller, 3)
    plan = ON_GPU.model_copy(update={"gpu_mem_floor_mib": 9000})
    assert await world.registry.save_plan(on_gpu(), plan, asleep=False)
    await passes(controller, 3)
    assert world.backend.calls == ["apply iris:1 1"]


async def test_a_controller_starts_what_was_woken_by_the_newest_plan_and_restarts_nothing(
    world: World,
) -> None:
    controller = new_controller(world)
    await world.registry.add_version(on_gpu(), [])

    def runs() -> WorkloadStatus:
        return world.backend.running[IRIS]

    await passes(controller, 3)
    before = runs().fingerprint
    world.backend.use(700, gpus=("A",), processes=frozenset({7}))
    await world.look()
    await passes(controller, 3)
    assert (runs().fingerprint, world.backend.calls) == (before, ["apply iris:1 1"])
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a test")
    await passes(controller, 3)
    await world.look()
    await world.registry.set_wish(IRIS, Wish.RUN, "a test")
    await passes(controller, 3)
    assert runs().fingerprint != before
    assert runs().replicas[0].state is ReplicaState.READY
    assert world.backend.calls == ["apply iris:1 1", "delete iris:1", "apply iris:1 1"]
