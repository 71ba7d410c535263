"""What routers tell the leader, and when a replica is left alone by all of them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import pytest
from examples_of import NOON, version

from longshore.core.names import VersionKey
from longshore.core.reports import SILENT, Reply, Report, Reports, together
from longshore.core.routes import ModelRoute, VersionRoute
from longshore.core.types import Address, Endpoint, HoldsSeen, Load, State, TrafficRule

IRIS = VersionKey("iris", "1")


class Table:
    """This process's own."""

    def __init__(self) -> None:
        self.observed = Load(key=IRIS)
        self.busy: set[str] = set()

    async def update(self, route: ModelRoute) -> None: ...

    async def remove(self, name: str) -> None: ...

    async def drain(self, replicas: Collection[str], within: float) -> bool:
        return not self.busy.intersection(replicas)

    def loads(self) -> Sequence[Load]:
        return [self.observed]

    def load(self, key: VersionKey) -> Load:
        return self.observed if key == IRIS else Load(key=key)


class World:
    def __init__(self) -> None:
        self.table = Table()
        self.time = 0.0
        self.reports = Reports(self.table, clock=lambda: self.time)


@pytest.fixture
def world() -> World:
    return World()


def load(in_flight: int = 0, held: int = 0, minute: int = 0) -> Load:
    at = NOON + timedelta(minutes=minute)
    return Load(
        key=IRIS,
        in_flight=in_flight,
        held=held,
        rate=in_flight,
        last_request_at=at,
        last_answer_at=at,
    )


def report(router: str, *loads: Load, **quiet: int) -> Report:
    return Report(router=router, loads=loads, quiet=quiet)


def test_the_newest_reports_of_all_are_added_to_what_is_seen_here(world: World) -> None:
    world.table.observed = load(1, minute=1)
    world.reports.take(report("a", load(9, minute=3)))
    world.reports.take(report("a", load(2, minute=4)))
    world.reports.take(report("b", load(3, 5, minute=2)))
    total = world.reports.load(IRIS)
    assert (total.in_flight, total.held, total.rate) == (6, 5, 6)
    assert total.last_answer_at == NOON + timedelta(minutes=4)
    assert world.reports.loads() == [total]
    wants = Report(router="a", loads=(), wants_sums=True)
    assert world.reports.take(wants).loads == (world.reports.load(IRIS),)
    assert world.reports.take(report("a")).loads == ()


def test_a_router_that_falls_silent_counts_no_more_but_when_it_was_last_called(
    world: World,
) -> None:
    world.reports.take(report("a", load(2, minute=4)))
    world.time += SILENT + 0.1
    world.reports.take(report("b", load(3, minute=2)))
    total = world.reports.load(IRIS)
    assert (total.in_flight, total.rate) == (3, 3)
    assert total.last_request_at == total.last_answer_at == NOON + timedelta(minutes=4)
    assert world.reports.live() == ["b"]


def test_what_a_router_held_that_falls_silent_is_lost_and_held_no_more(world: World) -> None:
    held = HoldsSeen(since=NOON, held=5, longest=1)
    world.reports.take(report("a", Load(key=IRIS, held=3, holds=held)))
    world.time += SILENT + 0.1
    seen = world.reports.load(IRIS)
    assert seen.held == 0
    assert seen.holds
    assert seen.holds.until, "of the next wake nothing of it is"
    assert (seen.holds.held, seen.holds.lost) == (5, 3)
    over = held.model_copy(update={"until": NOON})
    both = together(Load(key=IRIS, holds=over), Load(key=IRIS, holds=held)).holds
    assert both == HoldsSeen(since=NOON, held=10, longest=1), "some are held yet"


async def test_nothing_is_kept_of_a_model_that_is_gone(world: World) -> None:
    world.reports.take(report("a", load(2, minute=4)))
    world.time += SILENT + 0.1
    assert world.reports.load(IRIS).last_request_at
    await world.reports.remove("iris")
    assert world.reports.load(IRIS).last_request_at is None


def test_the_first_request_that_is_held_is_told_at_once(world: World) -> None:
    told: list[None] = []
    world.reports.hurried = lambda: told.append(None)
    world.reports.take(report("a", load(held=1)))
    world.reports.take(report("a", load(held=2)))
    assert len(told) == 1
    world.reports.take(report("a", load(held=0)))
    world.reports.take(report("a", load(held=1)))
    assert len(told) == 2


def test_those_who_are_turned_away_are_told_at_once_and_not_each_of_them(world: World) -> None:
    told: list[None] = []
    world.reports.hurried = lambda: told.append(None)
    moment = NOON
    for seconds in (0, 1, 2, 20):
        moment += timedelta(seconds=seconds)
        turned_away = load().model_copy(update={"turned_away_at": moment})
        world.reports.take(report("a", turned_away))
    assert len(told) == 2, "a new rush comes after a pause"
    world.reports.take(report("b", load()))
    assert world.reports.load(IRIS).turned_away_at == moment


async def test_a_replica_is_drained_when_all_routers_leave_it_alone(world: World) -> None:
    reports = world.reports
    for router in "ab":
        reports.take(report(router))
    draining = asyncio.create_task(reports.drain(["r1", "r2"], 30))
    await asyncio.sleep(0)
    told = reports.take(report("a")).retiring
    assert told.keys() == {"r1", "r2"}
    reports.take(report("a", **told))
    reports.take(report("b", r1=told["r1"]))
    await asyncio.sleep(0.2)
    assert not draining.done(), "b still has requests on r2"
    reports.take(report("b", **told))
    assert await asyncio.wait_for(draining, 5)
    # Until it is gone, nobody is to send requests there again.
    assert reports.take(report("a")).retiring == told


async def test_an_answer_to_an_earlier_word_does_not_count(world: World) -> None:
    reports = world.reports
    reports.take(report("a"))
    first = asyncio.create_task(reports.drain(["r1"], 30))
    await asyncio.sleep(0)
    told = reports.take(report("a")).retiring
    reports.take(report("a", **told))
    assert await asyncio.wait_for(first, 5)
    # It is to stay after all, and to go after all.
    endpoint = Endpoint(replica="r1", address=Address(host="127.0.0.1", port=1))
    routed = VersionRoute(version=version(), endpoints=(endpoint,), state=State.READY)
    await reports.update(ModelRoute(name="iris", traffic=TrafficRule(), versions=(routed,)))
    assert reports.take(report("a", **told)).retiring == {}
    second = asyncio.create_task(reports.drain(["r1"], 30))
    await asyncio.sleep(0.2)
    reports.take(report("a", **told))
    await asyncio.sleep(0.2)
    assert not second.done()
    second.cancel()


async def test_a_router_that_falls_silent_is_not_waited_for(world: World) -> None:
    world.reports.take(report("a"))
    draining = asyncio.create_task(world.reports.drain(["r1"], 1000))
    await asyncio.sleep(0.2)
    assert not draining.done()
    world.time += SILENT + 0.1
    assert await asyncio.wait_for(draining, 5)


async def test_who_has_just_begun_to_lead_waits_until_all_that_live_have_reported(
    world: World,
) -> None:
    reports = world.reports
    reports.forget()
    draining = asyncio.create_task(reports.drain(["r1"], 1000))
    await asyncio.sleep(0.2)
    assert not draining.done(), "nobody has reported yet"
    reports.take(report("a"))
    world.time += SILENT - 1
    told = reports.take(report("a", **reports.take(report("a")).retiring)).retiring
    await asyncio.sleep(0.2)
    assert not draining.done(), "there may be others"
    world.time += 2
    reports.take(report("a", **told))
    assert await asyncio.wait_for(draining, 5)


async def test_who_is_alone_waits_for_nobody() -> None:
    reports = Reports(Table(), alone=True, clock=lambda: 0.0)
    reports.forget()
    assert await asyncio.wait_for(reports.drain(["r1"], 1000), 5)


async def test_an_answer_to_an_earlier_leader_does_not_count(world: World) -> None:
    earlier = Reports(Table(), clock=lambda: world.time)
    for reports in (earlier, world.reports):
        reports.forget()
    world.time += SILENT + 1

    async def told(reports: Reports) -> Mapping[str, int]:
        reports.take(report("a"))
        draining = asyncio.create_task(reports.drain(["r1"], 1000))
        await asyncio.sleep(0.2)
        assert not draining.done()
        draining.cancel()
        return reports.take(report("a")).retiring

    for one, other in ((earlier, world.reports), (world.reports, earlier)):
        other.take(report("a", **await told(one)))
        draining = asyncio.create_task(other.drain(["r1"], 1000))
        await asyncio.sleep(0.2)
        assert not draining.done()
        draining.cancel()


async def test_nobody_is_waited_for_longer_than_that(world: World) -> None:
    world.reports.take(report("a"))
    assert not await asyncio.wait_for(world.reports.drain(["r1"], 0.2), 5)
    world.table.busy = {"r1"}
    assert not await world.reports.drain(["r1"], 0.1)


async def test_a_follower_knows_the_sums_and_what_to_leave_alone(world: World) -> None:
    world.table.observed = load(1)
    world.reports.heard(Reply(retiring={"r1": 7, "r2": 8}, loads=(load(5),)))
    assert world.reports.load(IRIS).in_flight == 5
    assert world.reports.retiring() == {"r1": 7, "r2": 8}
    world.table.busy = {"r2"}
    assert await world.reports.quiet(world.reports.retiring()) == {"r1": 7}
    assert world.reports.own() == [load(1)]
    world.time += SILENT + 0.1
    assert world.reports.load(IRIS).in_flight == 1
    world.reports.heard(Reply(retiring={"r1": 7}, loads=(load(5),)))
    world.reports.forget()
    assert world.reports.load(IRIS).in_flight == 1
    assert world.reports.retiring() == {}


async def test_a_drain_of_nothing_waits_for_nobody(world: World) -> None:
    world.reports.take(report("a"))
    assert await world.reports.drain([], 1000)


def test_loads_are_added_up_field_by_field() -> None:
    bare = Load(key=IRIS)
    assert together(bare, load(1, 2)) == load(1, 2)
    assert together(load(1, minute=5), load(2, minute=3)).last_request_at == NOON + timedelta(
        minutes=5
    )


def test_what_routers_hold_for_one_wake_is_added_up_and_an_earlier_one_is_not() -> None:
    def held(since: float, longest: float) -> Load:
        at = NOON + timedelta(seconds=since)
        until = at + timedelta(seconds=longest)
        holds = HoldsSeen(since=at, until=until, held=3, longest=longest, first_byte_at=at, lost=1)
        return Load(key=IRIS, held=2, holds=holds)

    first, second, later = held(0, 4), held(1, 3), held(60, 1)
    both = together(second, first)
    assert both.held == 4
    until = NOON + timedelta(seconds=4)
    assert both.holds == HoldsSeen(
        since=NOON, until=until, held=6, longest=4, first_byte_at=NOON, lost=2
    )
    assert together(both, later).holds == later.holds
    assert together(Load(key=IRIS), later).holds == later.holds
