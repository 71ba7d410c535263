"""What the parent tells workers, and how it adds up what they tell."""

import asyncio
import json
import os
from typing import Any

import pytest
from examples_of import version
from parts.replica import Replica
from parts.routed import hooks_of, model_route, route

from longshore.core.names import VersionKey
from longshore.core.routes import ModelRoute, VersionRoute
from longshore.core.types import State
from longshore.plugins import balancing
from longshore.router.meter import Meter
from longshore.router.routed import RoutedVersion
from longshore.router.table import Table
from longshore.router.workers.broadcast import Broadcast, Subscriber
from longshore.router.workers.counts import Counts
from longshore.router.workers.messages import Observation

NOON = 1_700_000_000.0


@pytest.fixture
def broadcast() -> Broadcast:
    counts, fd = Counts.create(4)
    os.close(fd)
    return Broadcast(Table(hooks_of(balancing), clock=lambda: NOON), counts)


class Hearer:
    """Takes what a subscriber has to hear, line by line."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self._lines = subscriber.lines()

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(anext(self._lines), 5))
        return message

    async def reach(self) -> list[dict[str, Any]]:
        """Take all there is, and say so; return it."""
        heard = []
        while (message := await self.next())["kind"] != "reach":
            heard.append(message)
        self.subscriber.reached = message["generation"]
        return heard


def row_in(message: dict[str, Any], replica: Replica) -> int:
    row: int = message["rows"][replica.id]
    return row


async def test_a_new_worker_hears_the_whole_table_and_then_what_changes(
    broadcast: Broadcast,
) -> None:
    for name in ("iris", "digits"):
        await broadcast.update(model_route(route(Replica(), name=name)))
    hearer = Hearer(broadcast.join(1))
    assert [each["route"]["name"] for each in await hearer.reach()] == ["iris", "digits"]
    await broadcast.remove("iris")
    assert await hearer.reach() == [{"kind": "remove", "name": "iris"}]


async def test_a_slow_worker_hears_the_newest_and_nothing_queues_up(broadcast: Broadcast) -> None:
    hearer = Hearer(broadcast.join(1))
    await hearer.reach()
    for number in range(1000):
        await broadcast.update(model_route(route(state=State.PENDING, reason=f"{number}")))
    assert [each["route"]["versions"][0]["reason"] for each in await hearer.reach()] == ["999"]


async def test_a_model_that_came_and_went_meanwhile_is_gone(broadcast: Broadcast) -> None:
    hearer = Hearer(broadcast.join(1))
    await hearer.reach()
    await broadcast.update(model_route(route(Replica())))
    await broadcast.remove("iris")
    assert await hearer.reach() == [{"kind": "remove", "name": "iris"}]
    await broadcast.remove("iris")
    assert broadcast.generation == 2, "removing what is gone is silence"


async def test_a_drain_waits_for_every_worker_and_every_request(broadcast: Broadcast) -> None:
    replica = Replica()
    hearers = [Hearer(broadcast.join(number)) for number in (1, 2)]
    await broadcast.update(model_route(route(replica)))
    [told] = await hearers[0].reach()
    await hearers[1].reach()
    cells = broadcast.counts.row(row_in(told, replica))
    cells[1] = 1
    await broadcast.update(model_route(route(state=State.ASLEEP)))
    assert not await broadcast.drain([replica.id], 0.05)
    for hearer in hearers:
        await hearer.reach()
    assert not await broadcast.drain([replica.id], 0.05), "a request is in flight"
    cells[1] = 0
    assert await broadcast.drain([replica.id], 0.05)


async def test_a_worker_that_has_not_heard_of_it_may_still_send_requests(
    broadcast: Broadcast,
) -> None:
    replica = Replica()
    await broadcast.update(model_route(route(replica)))
    hearer = Hearer(broadcast.join(1))
    await hearer.next()
    await broadcast.update(model_route(route(state=State.ASLEEP)))
    assert not await broadcast.drain([replica.id], 0.05), "it is just starting with the old route"
    broadcast.leave(hearer.subscriber, 0)
    assert await broadcast.drain([replica.id], 0.05)


async def test_a_row_is_used_again_only_when_nobody_can_count_in_it(broadcast: Broadcast) -> None:
    hearer = Hearer(broadcast.join(1))
    first, second, third, fourth = (Replica() for _ in range(4))
    rows = {}
    for replica in (first, second):
        await broadcast.update(model_route(route(replica)))
        [told] = await hearer.reach()
        rows[replica.id] = row_in(told, replica)
    assert rows[first.id] != rows[second.id]
    broadcast.counts.row(rows[second.id])[0] = 1
    # The first left a while ago; the second leaves now with a request in flight.
    await broadcast.update(model_route(route(third)))
    [told] = await hearer.reach()
    assert row_in(told, third) == rows[first.id]
    await broadcast.update(model_route(route(third, fourth)))
    [told] = await hearer.reach()
    assert row_in(told, fourth) not in rows.values()
    # And one that comes back has its old one.
    await broadcast.update(model_route(route(second)))
    [told] = await hearer.reach()
    assert row_in(told, second) == rows[second.id]


def observation(meter: Meter, route: VersionRoute, shadow: Meter | None = None) -> Observation:
    counted = RoutedVersion(route, None, "")
    counted.meter, counted.shadow_meter = meter, shadow
    sent = Observation.of(counted)
    # As it comes over the link.
    return Observation.model_validate_json(sent.model_dump_json())


def busy(answers: int, in_flight: int, at: float) -> Meter:
    meter = Meter()
    meter.in_flight = in_flight
    meter.last_answer = at
    for _ in range(answers + in_flight):
        meter.arrived(at)
    for _ in range(answers):
        meter.ended("2xx", at, at + 0.2)
    return meter


async def test_loads_and_meters_are_the_sums_of_all_workers(broadcast: Broadcast) -> None:
    iris = route(Replica())
    await broadcast.update(model_route(iris))
    one, other = broadcast.join(1), broadcast.join(2)
    broadcast.observed(one, observation(busy(10, 1, NOON - 1), iris))
    broadcast.observed(other, observation(busy(20, 2, NOON - 30), iris))
    load = broadcast.load(VersionKey("iris", "1"))
    assert (load.in_flight, load.rate) == (3, 33 / 60)
    assert load.last_answer_at
    assert load.last_answer_at.timestamp() == NOON - 1
    assert [each.in_flight for each in broadcast.loads()] == [3]
    # A report replaces the one before it, for it tells everything since the start.
    broadcast.observed(one, observation(busy(11, 0, NOON), iris))
    [version] = broadcast.table.versions()
    assert version.meter.answers == {"2xx": 31}
    assert sum(version.meter.latencies) == 31
    assert version.meter.seconds == pytest.approx(31 * 0.2)
    assert broadcast.answered() == {1: 11, 2: 20}


async def test_copies_for_a_shadow_are_added_up_apart(broadcast: Broadcast) -> None:
    iris = route(Replica())
    await broadcast.update(model_route(iris))
    one, other, third = (broadcast.join(number) for number in (1, 2, 3))
    shadow = busy(2, 1, NOON)
    shadow.copies.update({"sent": 2, "dropped incomplete": 1})
    shadow.held = 700
    for subscriber in (one, other):
        broadcast.observed(subscriber, observation(busy(10, 1, NOON), iris, shadow))
    broadcast.observed(third, observation(busy(10, 1, NOON), iris))
    [version] = broadcast.table.versions()
    assert version.shadow_meter
    assert version.shadow_meter.copies == {"sent": 4, "dropped incomplete": 2}
    assert version.shadow_meter.answers == {"2xx": 4}
    assert (version.shadow_meter.in_flight, version.shadow_meter.held) == (2, 1400)
    assert version.meter.answers == {"2xx": 30}
    broadcast.leave(one, 0)
    assert (version.shadow_meter.in_flight, version.shadow_meter.held) == (1, 700)
    assert version.shadow_meter.copies.total() == 6


async def test_what_a_worker_counted_outlives_it(broadcast: Broadcast) -> None:
    iris = route(Replica())
    await broadcast.update(model_route(iris))
    for number in (1, 2):
        subscriber = broadcast.join(number)
        broadcast.observed(subscriber, observation(busy(10, 3, NOON), iris))
        broadcast.leave(subscriber, 0)
    [version] = broadcast.table.versions()
    assert version.meter.answers == {"2xx": 20}
    assert version.meter.in_flight == 0


def later(registered: VersionRoute) -> ModelRoute:
    again = version("iris", "1").model_copy(
        update={"created_at": registered.version.created_at.replace(year=2040)}
    )
    return model_route(registered.model_copy(update={"version": again}))


async def test_a_number_that_was_registered_anew_begins_at_nothing(broadcast: Broadcast) -> None:
    iris = route(Replica())
    await broadcast.update(model_route(iris))
    subscriber = broadcast.join(1)
    broadcast.observed(subscriber, observation(busy(10, 3, NOON), iris))
    await broadcast.update(later(iris))
    broadcast.observed(subscriber, observation(busy(11, 3, NOON), iris))
    assert broadcast.load(VersionKey("iris", "1")).in_flight == 0
    await broadcast.remove("iris")
    broadcast.observed(subscriber, observation(busy(11, 3, NOON), iris))
    assert broadcast.loads() == []
    assert broadcast.answered() == {1: 0}
