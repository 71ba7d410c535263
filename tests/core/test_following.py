"""A controller that does not lead looks and publishes, and neither acts nor writes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pluggy
import pytest
from examples_of import NOON, version
from parts.controlled import passes
from parts.memory_backend import MemoryBackend
from parts.routed import until

from longshore import Load, ScaleWish, VersionKey, hookimpl
from longshore.core import hookspecs
from longshore.core.controller import Controller
from longshore.core.errors import Unavailable, WorkloadFailed
from longshore.core.following import Following, listed
from longshore.core.hooks import Hooks
from longshore.core.lease import CONTROLLER
from longshore.core.publishing import Publisher
from longshore.core.types import Model, State, VersionStatus, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")


@dataclass
class Leading:
    leads: bool = False
    epoch: int | None = 1


@dataclass
class World:
    registry: SqlRegistry
    hooks: Hooks
    backend: MemoryBackend = field(default_factory=MemoryBackend)
    leading: Leading = field(default_factory=Leading)
    retiring: dict[str, int] = field(default_factory=dict)
    time: datetime = NOON

    def __post_init__(self) -> None:
        self.table = Table(self.hooks)
        self.controller = Controller(
            self.registry,
            {"engine": self.backend},
            self.hooks,
            self.table,
            interval=3600,
            leadership=self.leading,
            retiring=lambda: self.retiring,
            now=lambda: self.time,
        )

    def now_leads(self, leads: bool) -> None:
        self.leading.leads = leads
        self.controller.leadership_changed()

    async def passes(self, number: int = 2) -> None:
        await passes(self.controller, number)

    def endpoints(self) -> list[str]:
        routed = (each for each in self.table.versions() if each.key == IRIS)
        return [replica.endpoint.replica for each in routed for replica in each.replicas]

    async def status(self) -> VersionStatus:
        return (await self.registry.version(IRIS)).status

    async def lead_as(self, holder: str) -> None:
        await self.registry.take_lease(CONTROLLER, holder, address="", seconds=60, force=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    world = World(registry, Hooks(manager))
    await world.lead_as("this one")
    yield world
    await registry.close()


async def test_a_follower_neither_acts_nor_writes(world: World) -> None:
    await world.registry.add_version(version(), [])
    before = await world.registry.models()
    await world.passes(3)
    assert world.backend.calls == []
    assert await world.registry.models() == before
    assert await world.registry.events() == []
    assert world.controller.passes == 3


async def test_a_follower_routes_what_runs_and_tells_what_the_leader_found(world: World) -> None:
    await world.registry.add_version(version(), [])
    world.now_leads(True)
    await world.passes()
    world.now_leads(False)
    failed = VersionStatus(state=State.FAILED, reason="as the leader saw it", hint="do this")
    await world.registry.save_status({IRIS: failed})
    await world.passes()
    assert world.endpoints() == ["replica-1"]
    route = world.table.version("iris", "1").route
    assert (route.state, route.reason, route.hint) == (
        State.FAILED,
        "as the leader saw it",
        "do this",
    )
    # What the leader is about to stop gets no requests, and that is told back.
    world.retiring = {"replica-1": 7}
    await world.passes(1)
    assert world.endpoints() == []
    assert world.controller.following.applied == {"replica-1": 7}
    world.retiring = {}
    await world.passes(1)
    assert world.endpoints() == ["replica-1"]
    await world.registry.set_wish(IRIS, Wish.SLEEP, "")
    await world.passes(1)
    assert world.endpoints() == []
    assert world.backend.calls == ["apply iris:1 1"]


async def test_what_is_done_ends_in_its_midst_when_another_leads(world: World) -> None:
    await world.registry.add_version(version(), [])
    world.backend.slow = 3600
    world.now_leads(True)
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1"]
    work = [each for each in asyncio.all_tasks() if each.get_name() == "apply iris:1"]
    world.now_leads(False)
    assert await until(lambda: all(each.cancelled() for each in work))
    assert len(work) == 1
    world.backend.slow = 0
    await world.passes()
    assert world.backend.running == {}
    world.now_leads(True)
    await world.passes()
    assert world.endpoints() == ["replica-1"]


async def test_what_waited_for_requests_to_end_is_not_done_when_another_leads_by_then(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    world.now_leads(True)
    await world.passes()
    drained = asyncio.Event()

    async def drain(replicas: object, within: float) -> bool:
        await drained.wait()
        return True

    world.table.drain = drain  # type: ignore[method-assign]
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes()
    # Its time is over, and nobody has told it yet.
    world.leading.leads = False
    drained.set()
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1"]


async def test_what_a_pass_found_is_not_written_when_another_leads_by_then(world: World) -> None:
    await world.registry.add_version(version(), [])
    world.backend.failing = WorkloadFailed("no such image")
    world.now_leads(True)
    await world.passes(1)
    await world.lead_as("another")
    await world.passes(2)
    assert (await world.status()).state is State.STARTING
    assert [each.kind for each in await world.registry.events()] == ["started"]
    world.leading.epoch = 2
    await world.lead_as("another")
    await world.passes(1)
    assert (await world.status()).reason == "no such image"


class Sleepy:
    @hookimpl
    def longshore_scale(self, load: Load) -> ScaleWish:
        return ScaleWish(replicas=max(load.in_flight, 1), why="as many as are told")


async def test_a_new_leader_stops_nothing_before_routers_told_what_they_carry(
    world: World,
) -> None:
    world.hooks.manager.register(Sleepy(), name="sleepy")
    await world.registry.add_version(version(scaling={"min": 1, "max": 5}), [])
    world.now_leads(True)
    await world.passes()
    meter = world.table.version("iris", "1").meter
    meter.in_flight = 3
    await world.passes()
    assert world.backend.calls == ["apply iris:1 1", "apply iris:1 3"]
    world.now_leads(False)
    meter.in_flight = 0
    world.time += timedelta(minutes=1)
    world.now_leads(True)
    await world.passes()
    assert world.backend.calls[-1] == "apply iris:1 3"
    world.time += timedelta(seconds=4)
    await world.passes()
    assert world.backend.calls[-1] == "apply iris:1 1"


async def test_a_router_goes_on_with_what_it_knew(world: World) -> None:
    await world.registry.add_version(version(), [])
    world.now_leads(True)
    await world.passes()
    table = Table(world.hooks)
    sources = {"engine": listed(world.backend)}
    following = Following(world.registry, sources, Publisher(table), dict)
    assert following.unready == "the models were not read from the database yet"
    world.backend.away = True
    await following.once()
    assert following.unready == "backend engine has not told where replicas are yet"
    world.backend.away = False
    await following.once()
    assert following.unready == ""
    asked: list[None] = []
    models = world.registry.models

    async def counted() -> list[Model]:
        asked.append(None)
        return list(await models())

    world.registry.models = counted  # type: ignore[method-assign]
    await following.once()
    assert asked == [], "nothing new: one number was asked for"

    async def away() -> int:
        raise Unavailable("the database is away")

    working, world.registry.revision = world.registry.revision, away  # type: ignore[method-assign]
    world.backend.away = True
    await following.once()
    assert [len(each.replicas) for each in table.versions()] == [1]
    world.registry.revision = working  # type: ignore[method-assign]
    world.backend.away = False
    await world.registry.delete_version(IRIS)
    await following.once()
    assert len(asked) == 1
    assert list(table.versions()) == []


async def test_a_router_that_knows_nothing_yet_says_so(world: World) -> None:
    async def away() -> int:
        raise Unavailable("the database is away")

    world.registry.revision = away  # type: ignore[method-assign]
    following = Following(world.registry, {}, Publisher(Table(world.hooks)), dict)
    with pytest.raises(Unavailable):
        await following.once()


async def test_a_follower_knows_since_when_a_wake_is_under_way(world: World) -> None:
    await world.registry.add_version(version(), [])
    sources = {"engine": listed(world.backend)}
    following = Following(world.registry, sources, Publisher(world.table), dict)

    async def woken_at() -> datetime | None:
        await following.once()
        return world.table.version("iris", "1").route.woken_at

    assert await woken_at() is None
    for end in (State.READY, State.FAILED, State.ASLEEP):
        await world.registry.set_wish(IRIS, Wish.SLEEP, "idle")
        world.time += timedelta(hours=1)
        await world.registry.set_wish(IRIS, Wish.RUN, "a request", at=world.time)
        assert await woken_at() == world.time
        if end is State.ASLEEP:
            await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
        else:
            ended = VersionStatus(state=end, since=world.time + timedelta(seconds=2))
            await world.registry.save_status({IRIS: ended})
        assert await woken_at() is None, end


async def test_a_follower_knows_how_long_wakes_take_and_reads_only_what_is_new(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    sources = {"engine": listed(world.backend)}
    following = Following(world.registry, sources, Publisher(world.table), dict)
    asked: list[datetime | None] = []
    wake_times = world.registry.wake_times

    async def counted(
        since: datetime | None = None, limit: int = 100
    ) -> Mapping[VersionKey, Mapping[datetime, float]]:
        asked.append(since)
        return await wake_times(since, limit)

    world.registry.wake_times = counted  # type: ignore[method-assign]

    async def one_wake(seconds: float) -> float | None:
        await world.registry.set_wish(IRIS, Wish.SLEEP, "idle")
        await world.registry.set_wish(IRIS, Wish.RUN, "a request", at=world.time)
        starting = VersionStatus(state=State.STARTING)
        await world.registry.save_status({IRIS: starting})
        since = world.time + timedelta(seconds=seconds)
        await world.registry.save_status({IRIS: VersionStatus(state=State.READY, since=since)})
        world.time += timedelta(hours=1)
        await following.once()
        await following.once()
        return world.table.version("iris", "1").route.wake_seconds

    await following.once()
    assert world.table.version("iris", "1").route.wake_seconds is None
    assert [await one_wake(seconds) for seconds in (40, 2, 3)] == [40, 40, 40]
    assert [await one_wake(5) for _ in range(100)][-1] == 5, "of the newest hundred"
    assert len(asked) == 1 + 103
    assert asked[1] is None
    assert asked[-1] == world.time - timedelta(hours=2, minutes=1, seconds=-5)
    # Another one of the same name begins anew.
    await world.registry.delete_version(IRIS)
    await following.once()
    await world.registry.add_version(version(), [])
    await following.once()
    assert world.table.version("iris", "1").route.wake_seconds is None
