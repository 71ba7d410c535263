"""Requests that wait for their version, with a clock that the test turns."""

import asyncio
import functools
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from examples_of import version
from parts.crewed import Caller
from parts.replica import Exchange, Replica, echo
from parts.routed import Routed, hooks_of, model_route, route, routed, until

from longshore.core.errors import LongshoreError, NotFound
from longshore.core.names import VersionKey
from longshore.core.routes import ModelRoute, VersionRoute
from longshore.core.types import State
from longshore.router.admission import Slot
from longshore.router.errors import Busy, NotReady, ReplicaFailed, Unreachable, Waking
from longshore.router.holding import Held, HoldLimits, Outcome
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")


def coming(*replicas: Replica, **fields: object) -> ModelRoute:
    """Return the route of a version that is on its way, or has come."""
    limits = {"concurrency": fields.pop("concurrency", 128)}
    return model_route(
        VersionRoute.model_validate(
            {
                "version": version(limits=limits),
                "endpoints": tuple(each.endpoint for each in replicas),
                "state": State.READY if replicas else State.ASLEEP,
                "coming": not replicas,
                **fields,
            }
        )
    )


class Desk:
    """A table, and the requests that somebody sends to iris."""

    def __init__(self, **limits: float) -> None:
        self.now = 1_000_000.0
        hold = HoldLimits(**limits)  # type: ignore[arg-type] # by name
        self.table = Table(hooks_of(), clock=lambda: self.now, hold=hold)
        self.outcomes: dict[str, Outcome] = {}
        self.signals: list[VersionKey] = []
        self.table.on_held = self.signals.append

    def ask(self, name: str, size: int = 0) -> Held:
        """Let a request wait."""
        found = self.table.version("iris", "1")
        why: NotReady | Busy | None = None
        try:
            Slot(self.table, found)
        except (NotReady, Busy) as error:
            why = error
        assert why
        tell = functools.partial(self.outcomes.__setitem__, name)
        return self.table.holding.enter(found, size, tell, why)

    @property
    def served(self) -> list[str]:
        """Return who got a slot, in order."""
        return [name for name, each in self.outcomes.items() if isinstance(each, Slot)]


async def test_they_get_their_slots_in_order_and_no_more_than_there_are() -> None:
    desk = Desk()
    await desk.table.update(coming(concurrency=2))
    for name in "abcde":
        desk.ask(name)
    assert desk.signals == [IRIS] * 5
    assert desk.table.load(IRIS).held == 5
    await desk.table.update(coming(Replica(), concurrency=2))
    assert desk.served == ["a", "b"]
    slot = desk.outcomes["a"]
    assert isinstance(slot, Slot)
    slot.begin()
    slot.end()
    assert desk.served == ["a", "b", "c"]
    await desk.table.update(coming(Replica(id="second"), Replica(id="third"), concurrency=2))
    assert desk.served == ["a", "b", "c", "d", "e"]
    slots = [each for each in desk.outcomes.values() if isinstance(each, Slot)]
    taken = Counter(each.replica.endpoint.replica for each in slots[3:])
    assert taken == {"second": 1, "third": 1}, "they spread"
    assert (desk.table.holding.requests, desk.table.load(IRIS).held) == (0, 0)


async def test_who_comes_while_others_wait_lines_up_behind_them() -> None:
    desk = Desk()
    await desk.table.update(coming(concurrency=1))
    for name in "ab":
        desk.ask(name)
    await desk.table.update(coming(Replica(), concurrency=1))
    desk.ask("c")
    slot = desk.outcomes["a"]
    assert isinstance(slot, Slot)
    slot.give_back()
    assert desk.served == ["a", "b"]


async def test_without_anybody_waiting_a_full_version_says_so_at_once() -> None:
    desk = Desk()
    await desk.table.update(coming(Replica(), concurrency=1))
    Slot(desk.table, desk.table.version("iris", "1"))
    with pytest.raises(Busy):
        desk.ask("b")


async def test_a_version_that_fails_tells_all_who_wait() -> None:
    desk = Desk()
    await desk.table.update(coming())
    for name in "ab":
        desk.ask(name)
    await desk.table.update(coming(state=State.FAILED, coming=False, reason="exit code 3"))
    assert all("exit code 3" in str(each) for each in desk.outcomes.values())
    assert len(desk.outcomes) == 2
    with pytest.raises(NotReady):
        desk.ask("c")


async def test_a_version_that_is_deleted_lets_go_of_all() -> None:
    desk = Desk()
    await desk.table.update(coming())
    desk.ask("a")
    await desk.table.remove("iris")
    assert isinstance(desk.outcomes["a"], NotFound)
    assert desk.table.holding.requests == 0


async def test_who_leaves_gives_the_place_up() -> None:
    desk = Desk(requests=2)
    await desk.table.update(coming(concurrency=1))
    first = desk.ask("a")
    desk.ask("b")
    first.leave()
    desk.ask("c")
    await desk.table.update(coming(Replica(), concurrency=1))
    assert desk.served == ["b"]


async def test_who_leaves_with_a_slot_gives_that_back() -> None:
    desk = Desk()
    await desk.table.update(coming(concurrency=1))
    first = desk.ask("a")
    desk.ask("b")
    await desk.table.update(coming(Replica(), concurrency=1))
    first.leave()
    assert desk.served == ["a", "b"]
    assert desk.table.version("iris", "1").replicas[0].in_flight == 1


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        ({"requests": 2}, "hold_requests"),
        ({"requests_in_all": 2}, "hold_requests_total"),
        ({"bytes": 250}, "hold_bytes"),
        ({"bytes_in_all": 250}, "hold_bytes_total"),
    ],
)
async def test_what_crosses_a_bound_is_refused(limits: dict[str, float], setting: str) -> None:
    desk = Desk(**limits)
    await desk.table.update(coming(wake_seconds=20.0))
    desk.ask("a", size=100)
    desk.now += 5
    desk.ask("b", size=100)
    with pytest.raises(Waking, match=f"({setting})") as refused:
        desk.ask("c", size=100)
    assert refused.value.headers["retry-after"] == "15", "20 s, of which 5 are over"
    assert desk.table.holding.bytes == 200


async def test_retry_after_counts_from_the_wake_and_not_from_the_first_who_waits() -> None:
    desk = Desk(requests=1, seconds=4)
    woken = datetime.fromtimestamp(desk.now, UTC)
    await desk.table.update(coming(wake_seconds=7.0, woken_at=woken))
    desk.now += 1
    desk.ask("a")
    desk.now += 4.5
    assert await until(lambda: desk.outcomes)
    late = desk.outcomes["a"]
    assert isinstance(late, Waking)
    assert late.headers["retry-after"] == "2", "7 s, of which 5.5 are over"
    desk.ask("b")
    with pytest.raises(Waking) as refused:
        desk.ask("c")
    assert refused.value.headers["retry-after"] == "2"
    # By a clock that is behind the leader's.
    desk.now -= 60
    with pytest.raises(Waking) as refused:
        desk.ask("d")
    assert refused.value.headers["retry-after"] == "7"


async def test_what_is_held_for_one_wake_is_counted_together_though_all_left_in_between() -> None:
    desk = Desk(seconds=4)
    begun = desk.now
    await desk.table.update(coming())
    desk.ask("a")
    await desk.table.update(coming(woken_at=datetime.fromtimestamp(begun, UTC)))
    desk.now += 5
    assert await until(lambda: desk.outcomes)
    holds = desk.table.load(IRIS).holds
    assert holds
    assert holds.until
    assert holds.until.timestamp() == begun + 5
    for name in "bc":
        desk.ask(name)
    desk.now += 1
    await desk.table.update(coming(Replica()))
    holds = desk.table.load(IRIS).holds
    assert holds
    assert (holds.since.timestamp(), holds.held, holds.longest) == (begun, 3, 5)
    # The next wake begins anew.
    desk.now += 60
    await desk.table.update(coming())
    desk.ask("d")
    await desk.table.update(coming(woken_at=datetime.fromtimestamp(desk.now, UTC)))
    holds = desk.table.load(IRIS).holds
    assert holds
    assert (holds.since.timestamp(), holds.held, holds.until) == (desk.now, 1, None)


async def test_nobody_waits_longer_than_hold_seconds() -> None:
    desk = Desk(seconds=10)
    await desk.table.update(coming())
    desk.ask("a")
    desk.now += 6
    desk.ask("b")
    desk.now += 5
    assert await until(lambda: desk.outcomes)
    assert list(desk.outcomes) == ["a"]
    assert isinstance(desk.outcomes["a"], Waking)
    desk.now += 100
    assert await until(lambda: len(desk.outcomes) == 2)
    assert isinstance(desk.outcomes["b"], LongshoreError)


async def test_who_waits_again_stands_in_front_and_waits_no_longer_than_others() -> None:
    desk = Desk(seconds=10)
    replica = Replica()
    await desk.table.update(coming(replica, concurrency=1))
    found = desk.table.version("iris", "1")
    gone = [Slot(desk.table, found)]
    gone[0].failed()

    def again(name: str, came: float) -> None:
        tell = functools.partial(desk.outcomes.__setitem__, name)
        why = ReplicaFailed(IRIS, "r1", "refused the connection")
        desk.table.holding.enter(found, 0, tell, why, refused_since=came)

    again("a", desk.now - 2)
    desk.ask("c")
    again("b", desk.now - 1)
    desk.now += 8.5
    assert await until(lambda: desk.outcomes)
    assert list(desk.outcomes) == ["a"], "though it is not the first any more"
    assert isinstance(desk.outcomes["a"], Unreachable)
    gone[0].give_back()
    await asyncio.sleep(0)
    assert desk.served == ["b"]
    assert desk.table.load(IRIS).held == 1


async def test_the_times_of_a_wake_are_told() -> None:
    desk = Desk()
    await desk.table.update(coming())
    desk.ask("a")
    desk.now += 3
    held = desk.ask("b")
    desk.now += 1
    await desk.table.update(coming(Replica()))
    held.answering(desk.now + 1)
    holds = desk.table.load(IRIS).holds
    assert holds
    assert (holds.since.timestamp(), holds.held, holds.longest) == (1_000_000, 2, 4)
    assert holds.first_byte_at
    assert holds.first_byte_at.timestamp() == 1_000_005
    assert held.waited == 1


async def test_a_held_request_is_answered_and_says_that_it_was(router: Routed) -> None:
    replica = await router.replica()
    await router.table.update(coming())
    asking = [
        asyncio.create_task(router.predict(b"[1]")),
        asyncio.create_task(
            router.http.post("/v1/predict", json={"model": "iris", "features": [1]})
        ),
        asyncio.create_task(router.http.get("/v1/models/iris/versions/1/raw/x")),
    ]
    assert await until(lambda: router.table.load(IRIS).held == 3)
    await asyncio.sleep(0.01)
    await router.table.update(coming(replica))
    answers = await asyncio.gather(*asking)
    assert [each.status_code for each in answers] == [200] * 3
    assert all(float(each.headers["x-longshore-cold-start"]) > 0 for each in answers)
    assert "x-longshore-cold-start" not in (await router.predict()).headers


async def test_a_body_in_pieces_is_held_at_its_beginning_and_arrives_whole(router: Routed) -> None:
    replica = await router.replica()
    await router.table.update(coming())
    body = b"x" * 8_000_000
    asking = asyncio.create_task(router.predict(body))
    assert await until(lambda: router.table.load(IRIS).held == 1)
    await asyncio.sleep(0.2)
    assert 0 < router.table.holding.bytes < 1_000_000
    await router.table.update(coming(replica))
    assert (await asking).content == body
    assert router.table.holding.bytes == 0


async def test_a_client_that_leaves_is_held_no_more(router: Routed) -> None:
    await router.table.update(coming())
    with pytest.raises(httpx.ReadTimeout):
        await router.http.post("/v1/models/iris/predict", content=b"[1]", timeout=0.2)
    assert await until(lambda: router.table.load(IRIS).held == 0)
    assert router.table.version("iris", "1").meter.answers == {"aborted": 1}


async def test_a_burst_does_not_overrun_the_replica(router: Routed) -> None:
    most = now = 0

    async def slowly(exchange: Exchange) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        await echo(exchange)

    replica = await router.replica(slowly)
    await router.table.update(coming(concurrency=5))
    asking = [asyncio.create_task(router.predict()) for _ in range(60)]
    assert await until(lambda: router.table.load(IRIS).held == 60)
    await router.table.update(coming(replica, concurrency=5))
    assert {each.status_code for each in await asyncio.gather(*asking)} == {200}
    assert most == 5


async def test_of_many_at_once_all_are_answered_or_refused(state: Path) -> None:
    async with routed(state, hold_requests=300) as router:
        replica = await router.replica()
        await router.table.update(coming(wake_seconds=30.0))
        callers = [await Caller(router.port).connect() for _ in range(500)]
        asking = [asyncio.create_task(each.ask()) for each in callers]
        assert await until(lambda: sum(each.statuses[503] for each in callers) == 200, 30)
        assert router.table.holding.requests == 300
        refused = next(each for each in callers if each.statuses[503])
        assert re.search(rb"retry-after: (30|2\d)\r\n", refused.head)
        await router.table.update(coming(replica))
        await asyncio.gather(*asking)
        statuses: Counter[int] = Counter()
        for each in callers:
            statuses += each.statuses
            each.close()
        assert statuses == {200: 300, 503: 200}
        assert router.table.holding.requests == 0
        assert router.table.version("iris", "1").queue is None


async def test_a_sleeping_version_is_not_passed_over_for_an_older_one(router: Routed) -> None:
    older, newer = await router.replica(), await router.replica()
    ready = route(older)
    for state, replicas, expected in (
        (State.STARTING, (), "1"),
        (State.READY, (newer,), "2"),
        (State.ASLEEP, (), "2"),
        (State.STARTING, (), "2"),
        (State.FAILED, (), "1"),
    ):
        await router.table.update(model_route(ready, route(*replicas, number="2", state=state)))
        assert router.table.choose("iris").key.version == expected, state
