"""Rounds of collection, with a real database and controller, and a backend without an engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pluggy
import pytest
from examples_of import NOON, image, version
from parts.controlled import passes
from parts.memory_backend import MemoryBackend
from parts.routed import hooks_of, until

from longshore import Event, Image, Load, VersionKey, hookimpl
from longshore.core import collector as module
from longshore.core import hookspecs
from longshore.core.collector import Collector
from longshore.core.controller import Controller
from longshore.core.errors import Unavailable
from longshore.core.following import Following, listed
from longshore.core.hooks import Hooks
from longshore.core.publishing import Publisher
from longshore.core.settings import Settings
from longshore.core.types import Collected, State, TrafficRule, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.table import Table

OLD, NEW = VersionKey("iris", "1"), VersionKey("iris", "2")
PINNED = version().image.pinned


@dataclass
class Witness:
    """A plugin that is told of events, and deletes images."""

    events: list[Event] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    refuses: bool = False

    @hookimpl
    def longshore_on_event(self, event: Event) -> None:
        self.events.append(event)

    @hookimpl
    def longshore_delete_image(self, image: Image) -> bool:
        if self.refuses:
            raise Unavailable("the registry deletes nothing")
        self.deleted.append(image.digest)
        return True


@dataclass
class World:
    registry: SqlRegistry
    backend: MemoryBackend
    controller: Controller
    collector: Collector
    witness: Witness
    table: Table
    hooks: Hooks

    async def settle(self) -> None:
        """Make passes, and let the work that each starts come to its end."""
        await passes(self.controller, 3)

    def another_collector(self, *, delete_collected: bool = True, acts: bool = True) -> Collector:
        """Return one that has just started."""
        return Collector(
            Settings(delete_collected=delete_collected),
            self.registry,
            {"engine": self.backend},
            self.hooks,
            self.table,
            kick=self.controller.kick,
            acts=lambda: acts,
            now=lambda: NOON,
        )

    async def state(self, key: VersionKey = OLD) -> State:
        return (await self.registry.version(key)).status.state


async def two_versions(world: World, *, same_image: bool = False) -> None:
    """Register two, both 100 days ago, and let them run."""
    for number, digit in (("1", "a"), ("2", "a" if same_image else "b")):
        registered = version(number=number).model_copy(
            update={"image": image(digit), "created_at": NOON - timedelta(days=100)}
        )
        await world.registry.add_version(registered, [])
    await world.settle()


@pytest.fixture(params=[False], ids=[""])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    witness = Witness()
    manager.register(witness, name="witness")
    hooks, backend = Hooks(manager), MemoryBackend()

    def now() -> datetime:
        return NOON

    table = Table(hooks, clock=NOON.timestamp)
    backends = {backend.name: backend}
    controller = Controller(registry, backends, hooks, table, interval=3600, now=now)
    settings = Settings(delete_collected=request.param)
    collector = Collector(settings, registry, backends, hooks, table, kick=controller.kick, now=now)
    yield World(registry, backend, controller, collector, witness, table, hooks)
    await registry.close()


deletes = pytest.mark.parametrize("world", [True], indirect=True, ids=["delete"])


async def test_a_plan_changes_nothing(world: World) -> None:
    await two_versions(world)
    plan = await world.collector.plan()
    assert [each.key for each in plan.going] == [OLD]
    await world.settle()
    assert await world.state() is State.READY
    assert not await world.registry.decisions(OLD)


async def test_what_is_collected_stops_frees_its_image_and_can_be_explained(world: World) -> None:
    await two_versions(world)
    await world.collector.collect()
    assert await world.collector.free(), "its containers still run"
    await world.settle()
    assert await world.state() is State.COLLECTED
    assert OLD not in world.backend.running
    assert PINNED in world.backend.images
    assert not await world.collector.free()
    assert PINNED not in world.backend.images
    [decision] = await world.registry.decisions(OLD)
    assert (decision.hook, decision.plugin, decision.outcome, decision.why) == (
        "wish",
        "core",
        "collect",
        "nobody called it for 100 days, and it is kept for 30 days",
    )
    assert decision.inputs["in_flight"] == 0
    told = [(each.kind, each.message) for each in world.witness.events if each.key == OLD]
    assert told[-2:] == [("collected", decision.why), ("stopped", "stopped, as it is collected")]
    status = (await world.registry.version(OLD)).status
    assert status.reason == decision.why
    assert not world.witness.deleted, "nobody asked for that"


async def test_another_version_keeps_the_image_that_both_have(world: World) -> None:
    await two_versions(world, same_image=True)
    await world.collector.collect()
    await world.settle()
    assert not await world.collector.free()
    assert PINNED in world.backend.images
    assert await world.state(NEW) is State.READY


async def test_collecting_twice_is_collecting_once(world: World) -> None:
    await two_versions(world)
    await world.collector.collect()
    await world.settle()
    again = await world.collector.collect()
    assert not again.going
    assert len(await world.registry.decisions(OLD)) == 1
    for _ in range(2):
        await world.collector.free()
    assert world.backend.calls.count(f"free {PINNED}") == 1


async def test_what_is_woken_comes_back_and_stays(world: World) -> None:
    await two_versions(world)
    await world.collector.collect()
    await world.settle()
    await world.registry.set_wish(OLD, Wish.RUN, "woken by a user")
    await world.settle()
    assert await world.state() is State.READY
    # It was asked for on the real clock, which is later than this test's.
    assert not (await world.collector.plan()).going


async def test_what_was_called_before_this_start_stays(world: World) -> None:
    await two_versions(world)
    called = NOON - timedelta(days=2)
    await world.registry.save_loads([Load(key=OLD, last_request_at=called)])
    assert not (await world.collector.collect()).going


async def test_what_is_pinned_stays(world: World) -> None:
    await two_versions(world)
    await world.registry.set_pinned(OLD, pinned=True)
    assert not (await world.collector.collect()).going
    await world.registry.set_pinned(OLD, pinned=False)
    assert (await world.collector.collect()).going


@deletes
async def test_where_it_is_set_the_image_is_deleted_from_its_registry(world: World) -> None:
    await two_versions(world)
    assert (await world.collector.plan()).without_image == (OLD,)
    assert (await world.collector.collect()).without_image == (OLD,)
    await world.settle()
    await world.collector.free()
    assert world.witness.deleted == [image("a").digest]
    await world.settle()
    status = (await world.registry.version(OLD)).status
    assert "deleted from its registry" in status.reason
    announced, done = await world.registry.decisions(OLD)
    assert "so its image is deleted from its registry, too" in announced.why
    assert (done.hook, done.plugin, done.outcome) == (
        "longshore_delete_image",
        "witness",
        "deleted",
    )
    kinds = [each.kind for each in world.witness.events if each.key == OLD]
    assert kinds[-3:] == ["collected", "stopped", "image-deleted"]


@deletes
async def test_what_was_pushed_again_is_not_deleted_by_the_next_start(world: World) -> None:
    await two_versions(world)
    await world.collector.collect()
    await world.settle()
    for collector in (world.collector, world.another_collector()):
        assert not await collector.free()
    assert len(world.witness.deleted) == 1


@deletes
async def test_what_was_collected_before_it_was_set_keeps_its_image(world: World) -> None:
    await two_versions(world, same_image=True)
    await world.registry.set_traffic("iris", TrafficRule(weights={"2": 1}))
    await world.another_collector(delete_collected=False).collect()
    await world.registry.set_traffic("iris", TrafficRule(weights={"1": 1}))
    found = await world.collector.collect()
    assert ([each.key for each in found.going], found.without_image) == ([NEW], ())
    await world.settle()
    assert not await world.collector.free()
    assert not world.witness.deleted, "one of them was told to come back by a wake"


@deletes
async def test_one_that_is_woken_at_the_last_moment_keeps_its_image(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_versions(world)
    await world.collector.collect()
    await world.settle()
    keep = world.registry.keep_collected

    async def woken_before(collected: Mapping[VersionKey, Collected]) -> None:
        await world.registry.set_wish(OLD, Wish.RUN, "woken by a user")
        await keep(collected)

    monkeypatch.setattr(world.registry, "keep_collected", woken_before)
    await world.collector.free()
    assert not world.witness.deleted


@deletes
async def test_who_leads_no_more_deletes_nothing(world: World) -> None:
    await two_versions(world)
    await world.collector.collect()
    await world.settle()
    await world.another_collector(acts=False).free()
    assert not world.witness.deleted
    await world.another_collector().free()
    assert world.witness.deleted


@deletes
async def test_a_registry_that_refuses_is_asked_again_and_the_version_comes_back_until_then(
    world: World,
) -> None:
    await two_versions(world)
    await world.collector.collect()
    await world.settle()
    world.witness.refuses = True
    assert await world.collector.free()
    collected = (await world.registry.version(OLD)).collected
    assert collected
    assert collected.comes_back
    world.witness.refuses = False
    assert not await world.collector.free()
    assert world.witness.deleted


async def test_the_image_of_a_version_that_was_deleted_is_freed(world: World) -> None:
    await two_versions(world)
    for key in (OLD, NEW):
        await world.registry.delete_version(key)
    assert set((await world.collector.plan()).left_images) == world.backend.images
    assert await world.collector.free(), "its containers still run"
    await world.settle()
    assert not await world.collector.free()
    assert not world.backend.images
    assert not await world.registry.left_images()


async def test_it_is_not_while_another_version_has_it(world: World) -> None:
    await two_versions(world, same_image=True)
    await world.registry.delete_version(OLD)
    await world.settle()
    assert not await world.collector.free()
    assert PINNED in world.backend.images
    await world.registry.delete_version(NEW)
    await world.settle()
    assert not await world.collector.free()
    assert not world.backend.images


async def test_what_is_collected_again_is_freed_again(world: World) -> None:
    await two_versions(world)
    for wish in (Wish.COLLECT, Wish.RUN, Wish.COLLECT):
        await world.registry.set_wish(OLD, wish, "a test")
        await world.settle()
        await world.collector.free()
    assert PINNED not in world.backend.images


async def test_a_round_on_demand_frees_images_though_no_version_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    await two_versions(world)
    async with world.collector.running():
        for key in (OLD, NEW):
            await world.registry.delete_version(key)
        await world.settle()
        assert not (await world.collector.collect()).going
        assert await until(lambda: not world.backend.images, within=10)


@deletes
async def test_no_image_is_deleted_that_another_version_has(world: World) -> None:
    await two_versions(world, same_image=True)
    await world.collector.collect()
    await world.settle()
    await world.collector.free()
    assert not world.witness.deleted


async def test_an_engine_that_is_away_ends_no_round(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    await two_versions(world)
    deadline = asyncio.get_running_loop().time() + 30

    async def settled(reached: Callable[[], Awaitable[bool]]) -> None:
        while not await reached():
            assert asyncio.get_running_loop().time() < deadline
            await world.settle()
            await asyncio.sleep(0.01)

    async def tried() -> bool:
        return "stays for now" in caplog.text

    async def freed() -> bool:
        return PINNED not in world.backend.images

    world.backend.keeps_images = True
    async with world.collector.running():
        await settled(tried)
        world.backend.keeps_images = False
        await settled(freed)


@pytest.mark.parametrize("follows", [False, True], ids=["leads", "follows"])
async def test_once_the_newest_is_collected_an_older_one_gets_the_requests(
    world: World, follows: bool
) -> None:
    await two_versions(world)
    await world.registry.set_traffic("iris", TrafficRule(weights={"1": 1}))
    table = Table(hooks_of()) if follows else world.table
    sources = {"engine": listed(world.backend)}
    following = Following(world.registry, sources, Publisher(table), dict)

    async def look() -> None:
        await world.settle()
        if follows:
            await following.once()

    await look()
    assert [each.key for each in (await world.collector.collect()).going] == [NEW]
    await look()
    assert await world.state(NEW) is State.COLLECTED
    await world.registry.set_traffic("iris", TrafficRule())
    await look()
    assert table.choose("iris").key == OLD
