"""Who is called or expected to be is awake, who is not sleeps, and rest costs nothing."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from examples_of import NOON, replica, version
from parts.controlled import IRIS, World
from parts.routed import until

from longshore import Load, VersionKey, hookimpl
from longshore.core import controller
from longshore.core.convergence import Step, converge
from longshore.core.types import Collected, ImageFate, State, VersionRecord, Wish, WorkloadStatus
from longshore.router.admission import Slot
from longshore.router.errors import NotReady, Waking
from longshore.router.holding import Holding, HoldLimits
from longshore.router.holds import Holds


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


async def test_who_is_turned_away_because_too_much_waits_wakes_it_all_the_same(
    world: World,
) -> None:
    await asleep(world)
    world.table.holding = Holding(world.table, HoldLimits(requests=0))
    async with world.controller.running():
        with pytest.raises(Waking, match="hold_requests"):
            await held(world)
        assert await until(lambda: world.backend.calls == ["apply iris:1 1"])
        # What was decided is written after that.
        await world.passes(3)
    told = [each for each in await world.registry.decisions(IRIS) if each.outcome == "run"]
    assert [each.inputs["held"] for each in told] == [0]
    assert "turned_away_at" in told[0].inputs


async def test_a_request_that_is_still_held_wakes_nothing_whose_image_was_deleted(
    world: World,
) -> None:
    await asleep(world)
    outcome = await held(world)
    gone = Collected(at=NOON, why="a test", image=ImageFate.DELETED)
    await world.registry.collect(IRIS, gone)
    # No pass has told the router yet, so that it still asks.
    await world.controller._demand._wake(IRIS)  # noqa: SLF001
    assert (await world.registry.version(IRIS)).wish is Wish.COLLECT
    await world.passes(3)
    assert isinstance(await outcome, NotReady)


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


async def test_a_wake_by_hand_is_followed_from_its_beginning(world: World) -> None:
    await asleep(world)
    await world.registry.set_wish(IRIS, Wish.RUN, "woken by a user", at=NOON)
    world.clock.forward(1)
    await world.passes(1)
    route = world.table.version("iris", "1").route
    assert route.woken_at == NOON
    world.clock.forward(2)
    await world.passes(3)
    [wake] = await world.registry.wakes(IRIS)
    assert wake.applied_at == NOON + timedelta(seconds=1)
    assert wake.ready_at == NOON + timedelta(seconds=3)
    assert world.table.version("iris", "1").route.woken_at is None
    assert world.table.version("iris", "1").route.wake_seconds == 3


async def test_one_that_is_woken_before_anybody_saw_it_sleep_was_ready_all_the_while(
    world: World,
) -> None:
    await world.registry.add_version(version(scaling={"min": 0}), [])
    await world.passes(3)
    world.clock.forward(60)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
    await world.registry.set_wish(IRIS, Wish.RUN, "a user's", at=world.clock())
    await world.passes(2)
    [wake] = await world.registry.wakes(IRIS)
    assert wake.ready_at == wake.asked_at
    assert await world.registry.open_wakes() == {}


async def test_a_controller_knows_how_long_wakes_took_before_its_start(world: World) -> None:
    await asleep(world)
    await world.registry.set_wish(IRIS, Wish.RUN, "woken by a user", at=NOON)
    world.clock.forward(40)
    await world.passes(3)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
    world.controller = world.new_controller()
    await world.passes(1)
    assert world.table.version("iris", "1").route.wake_seconds == 40


async def test_a_version_is_warm_in_time_also_after_a_restart(world: World) -> None:
    """Its wakes take 40 s, so that it is woken 40 s before."""
    scaling = {"min": 0, "idle": 600, "warm": ["thu 13:00-14:00 UTC"]}
    await world.registry.add_version(version(scaling=scaling), [])
    await world.passes(3)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
    await world.passes(3)
    await world.registry.set_wish(IRIS, Wish.RUN, "a user's", at=NOON)
    world.clock.forward(40)
    await world.passes(3)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "a user's")
    await world.passes(3)
    world.controller = world.new_controller()
    world.clock.time = NOON + timedelta(minutes=59, seconds=15)
    await world.passes(4)
    assert (await world.status()).state is State.ASLEEP
    world.clock.forward(10)
    await world.passes(4)
    assert (await world.status()).state is State.READY


async def test_a_wake_that_is_broken_off_tells_why_and_counts_for_nothing(world: World) -> None:
    await asleep(world)
    world.backend.slow = 3600
    await world.registry.set_wish(IRIS, Wish.RUN, "woken by a user", at=NOON)
    await world.passes(1)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "put to sleep by a user")
    await world.passes(1)
    assert world.table.version("iris", "1").route.woken_at is None
    world.backend.slow = 0
    world.controller = world.new_controller()
    await world.passes(3)
    world.clock.forward(30)
    await world.registry.set_wish(IRIS, Wish.RUN, "woken by a user")
    await world.passes(4)
    first, second = await world.registry.wakes(IRIS)
    assert (first.ready_at, first.why_ended) == (None, "put to sleep by a user")
    assert first.applied_at == NOON, "phases are kept as they come"
    assert second.ready_at
    assert world.controller.ledger.expected(IRIS) == 0


async def test_a_wake_whose_backend_nobody_offers_fails(world: World) -> None:
    await asleep(world)
    await world.registry.set_wish(IRIS, Wish.RUN, "woken by a user", at=NOON)
    world.clock.forward(2)
    world.controller._backends = {}  # noqa: SLF001 - as after a start without its plugin
    await world.passes(1)
    [wake] = await world.registry.wakes(IRIS)
    assert (wake.failed, wake.ended_at) == (True, NOON + timedelta(seconds=2))
    assert "no enabled plugin offers" in wake.why_ended


async def test_requests_of_an_earlier_wake_do_not_date_the_next_one_back(world: World) -> None:
    """They wait on while a user lets their version sleep, and so wake it again at once."""
    await asleep(world)
    world.backend.slow = 3600
    world.table.clock = lambda: NOON.timestamp() + 1
    outcome = await held(world)
    async with world.controller.running():
        assert await until(lambda: world.backend.calls)
        await world.registry.set_wish(IRIS, Wish.SLEEP, "put to sleep by a user")
        world.controller.kick()
        async with asyncio.timeout(10):
            while True:
                first, *later = await world.registry.wakes(IRIS)
                if later:
                    break
                await asyncio.sleep(0.01)
        assert first.ended_at
        assert later[0].asked_at >= first.ended_at
        outcome.cancel()


@pytest.mark.parametrize(
    ("came", "asked"), [(50, 60), (62, 62), (90, 65)], ids=["before", "since", "from-now"]
)
async def test_a_wake_begins_between_sleep_and_now_whatever_a_routers_clock_says(
    world: World, came: float, asked: float
) -> None:
    await world.registry.add_version(version(scaling={"min": 0}), [])
    await world.passes()
    world.clock.forward(60)
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes(3)
    world.clock.forward(5)
    world.table.clock = lambda: NOON.timestamp() + came
    outcome = await held(world)
    async with world.controller.running():
        async with asyncio.timeout(10):
            await outcome
    [wake] = await world.registry.wakes(IRIS)
    assert wake.asked_at == NOON + timedelta(seconds=asked)


async def test_the_wake_of_one_who_is_turned_away_begins_with_that(world: World) -> None:
    await world.registry.add_version(version(scaling={"min": 0}), [])
    await world.passes()
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    await world.passes(3)
    world.clock.forward(60)
    noon, meter = NOON.timestamp(), world.table.version("iris", "1").meter
    meter.holds = Holds(since=noon + 1, until=noon + 2)
    meter.turned_away = noon + 59.5
    async with world.controller.running():
        world.controller.wake(IRIS)
        assert await until(lambda: world.backend.calls[-1:] == ["apply iris:1 1"])
    [wake] = await world.registry.wakes(IRIS)
    assert wake.asked_at == NOON + timedelta(seconds=59.5)


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
