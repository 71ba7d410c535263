"""The route table and admission: look-up, traffic, slots, balancers, loads, draining."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from examples_of import NOON
from parts.replica import Replica
from parts.routed import hooks_of, model_route, route

from longshore.core.errors import NotFound, Refused
from longshore.core.hookspecs import hookimpl
from longshore.core.names import VersionKey
from longshore.core.types import State, Version
from longshore.plugins import balancing
from longshore.router.admission import Slot
from longshore.router.errors import Busy, NotReady
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> Table:
    return Table(hooks_of(balancing), clock=clock, draw=random.Random(1).random)  # noqa: S311 - repeatable on purpose


async def test_an_unknown_name_is_told_the_nearest(table: Table) -> None:
    for name in ("iris", "digits", "iris-large"):
        await table.update(model_route(route(name=name)))
    with pytest.raises(NotFound) as caught:
        table.choose("irsi")
    assert caught.value.nearest[0] == "iris"
    with pytest.raises(NotFound) as caught:
        table.version("iris", "2")
    assert caught.value.nearest == ("iris:1",)


async def test_a_name_that_breaks_the_rule_is_told_the_rule(table: Table) -> None:
    await table.update(model_route(route()))
    with pytest.raises(NotFound, match="DNS label"):
        table.choose("Iris_Model")
    with pytest.raises(NotFound, match="1 to 32 characters"):
        table.version("iris", "v 1")


async def test_a_flood_of_wrong_names_stays_cheap(table: Table) -> None:
    for number in range(3000):
        await table.update(model_route(route(name=f"model-{number}")))
    begun = time.process_time()
    for number in range(20):
        with pytest.raises(NotFound):
            table.choose(f"modal-{number}")
    assert (time.process_time() - begun) / 20 < 0.1


async def test_without_weights_the_newest_version_with_an_endpoint_answers(table: Table) -> None:
    ready = Replica()
    await table.update(
        model_route(route(ready), route(ready, number="2"), route(number="3", state=State.STARTING))
    )
    assert table.choose("iris").key.version == "2"
    await table.update(model_route(route(state=State.FAILED), route(number="2")))
    assert table.choose("iris").key.version == "2"


async def test_a_collected_version_leaves_the_requests_to_an_older_one(table: Table) -> None:
    old = route(Replica())
    # What is on its way from sleep to readiness keeps them; this never comes to either.
    for state in (State.READY, State.ASLEEP, State.COLLECTED):
        await table.update(model_route(old, route(number="2", state=state)))
    assert table.choose("iris").key.version == "1"
    for state in (State.STARTING, State.FAILED):
        await table.update(
            model_route(route(state=state), route(number="2", state=State.COLLECTED))
        )
        assert table.choose("iris").key.version == "1", "the other one is gone for good"


async def test_a_collected_version_that_requests_may_wake_is_as_good_as_a_failed_one(
    table: Table,
) -> None:
    collected = route(number="2", state=State.COLLECTED)
    may_come = collected.model_copy(update={"coming": True})
    await table.update(model_route(route(state=State.FAILED), may_come))
    assert table.choose("iris").key.version == "2"
    await table.update(model_route(route(Replica()), may_come))
    assert table.choose("iris").key.version == "1"


async def test_weights_share_the_requests(table: Table) -> None:
    replica = Replica()
    versions = [route(replica, number=each) for each in "123"]
    await table.update(model_route(*versions, v1=90, v2=10, v3=0))
    seen = Counter(table.choose("iris").key.version for _ in range(10_000))
    assert seen.keys() == {"1", "2"}
    assert 850 < seen["2"] < 1150
    await table.update(model_route(versions[2], v1=90))
    assert table.choose("iris").key.version == "3", "the rule names versions that are gone"


async def test_slots_are_taken_up_to_the_limit_and_given_back(table: Table) -> None:
    first, second = Replica(), Replica()
    await table.update(model_route(route(first, second, limits={"concurrency": 2})))
    version = table.choose("iris")
    slots = [Slot(table, version).__enter__() for _ in range(4)]
    assert Counter(each.replica.endpoint.replica for each in slots) == {first.id: 2, second.id: 2}
    with pytest.raises(Busy) as caught:
        Slot(table, version)
    assert caught.value.headers == {"retry-after": "1"}
    assert table.load(IRIS).in_flight == 4
    slots[0].__exit__(None, None, None)
    with Slot(table, version) as slot:
        assert slot.replica is slots[0].replica
    assert table.load(IRIS).in_flight == 3


async def test_a_slot_moves_only_to_replicas_that_were_not_tried(table: Table) -> None:
    replicas = Replica(), Replica(), Replica()
    await table.update(model_route(route(*replicas)))
    with Slot(table, table.choose("iris")) as slot:
        seen = {slot.replica.endpoint.replica}
        while slot.move():
            seen.add(slot.replica.endpoint.replica)
        assert seen == {each.id for each in replicas}
        assert sum(each.in_flight for each in table.choose("iris").replicas) == 1
    assert sum(each.in_flight for each in table.choose("iris").replicas) == 0


@pytest.mark.parametrize(
    ("state", "hint", "retry_after"),
    [
        (State.PENDING, "try again", "2"),
        (State.PULLING, "try again", "2"),
        (State.STARTING, "try again", "2"),
        (State.FAILED, "longshore logs iris:1", None),
        (State.ASLEEP, "longshore wake iris:1", None),
        (State.READY, "try again", "2"),
    ],
)
async def test_a_version_that_is_not_ready_says_why(
    table: Table, state: State, hint: str, retry_after: str | None
) -> None:
    await table.update(model_route(route(state=state, reason="the reason")))
    with pytest.raises(NotReady, match="the reason") as caught:
        Slot(table, table.choose("iris"))
    assert hint in caught.value.hint
    assert caught.value.headers.get("retry-after") == retry_after
    assert caught.value.members["state"] == state.value


async def test_an_update_keeps_the_counts_of_replicas_that_stay(table: Table) -> None:
    stays, goes = Replica(), Replica()
    await table.update(model_route(route(stays, goes)))
    slots = [Slot(table, table.choose("iris")).__enter__() for _ in range(2)]
    await table.update(model_route(route(stays)))
    assert [each.in_flight for each in table.choose("iris").replicas] == [1]
    await table.update(model_route(route(stays, goes)))
    assert [each.in_flight for each in table.choose("iris").replicas] == [1, 1]
    for slot in slots:
        slot.__exit__(None, None, None)
    assert [each.in_flight for each in table.choose("iris").replicas] == [0, 0]
    assert table.load(IRIS).in_flight == 0


async def test_drain_waits_for_the_last_request_of_what_left(table: Table) -> None:
    goes = Replica()
    await table.update(model_route(route(goes)))
    slot = Slot(table, table.choose("iris")).__enter__()
    await table.remove("iris")
    with pytest.raises(NotFound):
        table.choose("iris")
    assert not await table.drain([goes.id], 0.05)
    draining = [asyncio.create_task(table.drain([goes.id, "unknown"], 5)) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in draining)
    slot.__exit__(None, None, None)
    assert await asyncio.wait_for(asyncio.gather(*draining), 1) == [True, True]
    assert await table.drain([goes.id], 0)
    await table.remove("iris")


class Spy:
    """A balancer plugin that misbehaves as told."""

    name = "spy"

    def __init__(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        self.pick = pick
        self.asked: list[VersionKey] = []

    @hookimpl
    def longshore_balancer(self, version: Version) -> "Spy":
        self.asked.append(version.key)
        return self


async def test_a_balancer_is_asked_for_once_per_version() -> None:
    spy = Spy(lambda candidates: candidates[-1])
    table = Table(hooks_of(spy, balancing))
    first, last = Replica(), Replica()
    for _ in range(3):
        await table.update(model_route(route(first, last)))
    assert spy.asked == [IRIS]
    for _ in range(3):
        with Slot(table, table.choose("iris")) as slot:
            assert slot.replica.endpoint.replica == last.id
    await table.update(model_route(route(first, last), route(first, number="2")))
    assert spy.asked == [IRIS, VersionKey("iris", "2")]


@pytest.mark.parametrize("pick", [lambda candidates: 1 / 0, lambda candidates: "the best"])
async def test_a_balancer_that_fails_is_named_and_replaced(
    pick: Callable[[Sequence[Any]], Any], caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(hooks_of(Spy(pick), balancing))
    replicas = Replica(), Replica()
    await table.update(model_route(route(*replicas)))
    with caplog.at_level(logging.ERROR):
        slots = [Slot(table, table.choose("iris")).__enter__() for _ in range(4)]
    taken = Counter(each.replica.endpoint.replica for each in slots)
    assert taken == {each.id: 2 for each in replicas}
    [told] = [each.message for each in caplog.records if "balancer" in each.message]
    failed = "plugin spy failed in longshore_balancer (pick a replica of iris:1): "
    assert told.startswith(failed)
    assert told.endswith("; the one with the fewest requests is taken instead")


async def test_a_plugin_that_refuses_a_balancer_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Strict:
        name = "strict"

        @hookimpl
        def longshore_balancer(self) -> None:
            raise Refused("not today")

    table = Table(hooks_of(Strict()))
    await table.update(model_route(route(Replica())))
    assert table.choose("iris").balancer is None
    assert "iris:1 has no balancer: not today (plugin strict in longshore_balancer)" in caplog.text


async def test_a_table_without_any_balancer_takes_the_least_busy() -> None:
    table = Table(hooks_of())
    await table.update(model_route(route(Replica(), Replica())))
    slots = [Slot(table, table.choose("iris")).__enter__() for _ in range(4)]
    assert sorted(Counter(id(each.replica) for each in slots).values()) == [2, 2]


async def test_the_rate_is_that_of_the_last_minute(table: Table, clock: Clock) -> None:
    await table.update(model_route(route()))
    meter = table.choose("iris").meter
    assert table.load(IRIS).last_request_at is None
    for _ in range(120):
        meter.arrived(clock.now)
        clock.now += 0.5
    assert table.load(IRIS).rate == pytest.approx(2, rel=0.1)
    clock.now += 30
    assert table.load(IRIS).rate == pytest.approx(1, rel=0.2)
    clock.now += 60
    assert table.load(IRIS).rate == 0
    last = table.load(IRIS).last_request_at
    assert last
    assert last.timestamp() == pytest.approx(clock.now - 90.5)
    assert table.load(IRIS).last_answer_at is None


async def test_loads_are_those_of_the_versions_in_the_table(table: Table) -> None:
    await table.update(model_route(route(), route(number="2")))
    assert [str(each.key) for each in table.loads()] == ["iris:1", "iris:2"]
    await table.update(model_route(route(number="2")))
    assert [str(each.key) for each in table.loads()] == ["iris:2"]
    assert table.load(IRIS).in_flight == 0


async def test_ten_thousand_versions_cost_a_request_nothing(table: Table) -> None:
    async def look_up() -> float:
        begun = time.perf_counter()
        for _ in range(2000):
            with Slot(table, table.version("iris", "1")):
                pass
        return time.perf_counter() - begun

    replica = Replica()
    await table.update(model_route(route(replica)))
    alone = min([await look_up() for _ in range(5)])
    for number in range(10_000):
        await table.update(model_route(route(name=f"model-{number}")))
    assert min([await look_up() for _ in range(5)]) < 1.5 * alone
    updates = []
    for _ in range(5):
        begun = time.perf_counter()
        await table.update(model_route(route(replica, state=State.STARTING)))
        updates.append(time.perf_counter() - begun)
    assert min(updates) < 0.002


async def test_a_number_registered_anew_starts_from_nothing(table: Table) -> None:
    await table.update(model_route(route(Replica())))
    with Slot(table, table.choose("iris")):
        pass
    assert table.load(IRIS).last_answer_at
    again = route(Replica())
    later = again.version.created_at.replace(year=2027)
    again = again.model_copy(
        update={"version": again.version.model_copy(update={"created_at": later})}
    )
    await table.update(model_route(again))
    assert table.load(IRIS).last_answer_at is None


@pytest.mark.parametrize(("ahead", "retry_after"), [(7.2, "8"), (0, "1"), (-60, "1")])
async def test_a_failed_version_tells_when_it_is_tried_again(
    ahead: float, retry_after: str
) -> None:
    table = Table(hooks_of(), clock=lambda: NOON.timestamp() - ahead)
    failed = route(state=State.FAILED, reason="the reason").model_copy(update={"retry_at": NOON})
    await table.update(model_route(failed))
    with pytest.raises(NotReady) as caught:
        Slot(table, table.choose("iris"))
    assert caught.value.headers["retry-after"] == retry_after
