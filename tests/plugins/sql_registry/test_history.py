"""What the registry remembers of what happened: wakes, loads, calls, decisions and events."""

from datetime import UTC, datetime, timedelta

import examples_of
import pytest
from parts.stored import IRIS, MINUTE, add, decision

from longshore.core.names import VersionKey
from longshore.core.types import (
    Collected,
    Event,
    Load,
    State,
    VersionStatus,
    Wish,
)
from longshore.plugins.sql_registry.registry import DECISIONS_KEPT, SqlRegistry


async def test_the_ledger_has_a_line_for_each_awakening(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    await registry.set_wish(IRIS, Wish.RUN, "it runs already")
    assert await registry.wakes(IRIS) == []
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.set_wish(IRIS, Wish.RUN, "a request\0")
    await registry.set_wish(IRIS, Wish.RUN, "another request")
    (wake,) = await registry.wakes(IRIS)
    assert wake.reason.startswith("a request")
    assert wake.ready_at is None

    await registry.save_status({IRIS: VersionStatus(state=State.STARTING)})
    assert (await registry.wakes(IRIS))[0].ready_at is None
    ready = VersionStatus(state=State.READY, since=wake.asked_at + MINUTE)
    await registry.save_status({IRIS: ready, VersionKey("iris", "2"): ready})
    assert (await registry.wakes(IRIS))[0].ready_at == wake.asked_at + MINUTE
    # Closed is closed.
    await registry.save_status({IRIS: ready.model_copy(update={"since": ready.since + MINUTE})})
    assert (await registry.wakes(IRIS))[0].ready_at == wake.asked_at + MINUTE


async def test_a_wake_is_never_ready_before_it_was_asked(registry: SqlRegistry) -> None:
    await add(registry, "1")
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.set_wish(IRIS, Wish.RUN, "at once, while its replicas still run")
    await registry.save_status({IRIS: VersionStatus(state=State.READY, since=examples_of.NOON)})
    (wake,) = await registry.wakes(IRIS)
    assert wake.ready_at == wake.asked_at


async def test_the_newest_wakes_come_oldest_first(registry: SqlRegistry) -> None:
    await add(registry, "1")
    for number in range(4):
        await registry.set_wish(IRIS, Wish.SLEEP, "")
        await registry.set_wish(IRIS, Wish.RUN, str(number))
    assert [wake.reason for wake in await registry.wakes(IRIS, limit=3)] == ["1", "2", "3"]


async def test_wakes_are_kept_up_to_a_bound_for_each_version(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore.plugins.sql_registry.wakes.KEPT", 3)
    other = VersionKey("iris", "2")
    for key in (other, IRIS):
        await registry.add_version(examples_of.version(number=key.version), [])
    for number in range(5):
        for wish in (Wish.SLEEP, Wish.RUN):
            await registry.set_wish(IRIS, wish, str(number))
        if not number:
            await registry.set_wish(other, Wish.SLEEP, "of another")
            await registry.set_wish(other, Wish.RUN, "of another")
    assert [each.reason for each in await registry.wakes(IRIS)] == ["2", "3", "4"]
    assert [each.reason for each in await registry.wakes(other)] == ["of another"]


async def test_the_last_load_wins(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    assert await registry.loads() == {}
    now = datetime.now(UTC)
    newest = Load(key=IRIS, in_flight=2, held=1, rate=0.1, last_request_at=now)
    gone = Load(key=VersionKey("gone", "1"), in_flight=1)
    await registry.save_loads([Load(key=IRIS, in_flight=9, last_answer_at=now)])
    await registry.save_loads([gone, newest])
    await registry.save_loads([])
    # When it was answered last, the newest does not know.
    expected = newest.model_copy(update={"last_answer_at": now})
    assert await registry.loads() == {IRIS: expected}


async def test_slots_of_calls_are_kept_once_and_for_a_time(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    other, noon = VersionKey("iris", "2"), examples_of.NOON
    await registry.add_calls({IRIS: noon, VersionKey("gone", "1"): noon}, noon)
    await registry.add_calls({IRIS: noon, other: noon}, noon)
    await registry.add_calls({IRIS: noon + MINUTE}, noon)
    assert await registry.calls(noon) == {IRIS: [noon, noon + MINUTE], other: [noon]}
    assert await registry.calls(noon + MINUTE) == {IRIS: [noon + MINUTE]}
    await registry.add_calls({}, noon + MINUTE)
    assert await registry.calls(noon) == {IRIS: [noon + MINUTE]}
    await registry.delete_version(IRIS)
    assert await registry.calls(noon) == {}


async def test_decisions_are_kept_up_to_a_bound_for_each_version(registry: SqlRegistry) -> None:
    other = VersionKey("iris", "2")
    await registry.add_version(examples_of.version(number="2"), [decision(-1)])
    await registry.add_version(examples_of.version(), [decision(0)])
    await registry.add_decisions(IRIS, [decision(n) for n in range(1, DECISIONS_KEPT)])
    assert len(await registry.decisions(IRIS)) == DECISIONS_KEPT
    await registry.add_decisions(IRIS, [decision(n) for n in range(DECISIONS_KEPT, 230)])
    found = await registry.decisions(IRIS)
    assert [each.outcome["score"] for each in found] == list(range(30, 230))  # type: ignore[index,call-overload]  # JSON
    assert len(await registry.decisions(other)) == 1


async def test_decisions_about_nobody_are_passed_over(registry: SqlRegistry) -> None:
    await registry.add_decisions(IRIS, [decision()])
    assert await registry.decisions(IRIS) == []


async def test_the_newest_events_come_oldest_first(registry: SqlRegistry) -> None:
    wine = VersionKey("wine", "1")
    for number in range(4):
        both = [Event(kind="ready", key=key, message=f"no. {number}") for key in (IRIS, wine)]
        await registry.add_events(both)
    assert [each.message for each in await registry.events(limit=3)] == ["no. 2", "no. 3", "no. 3"]
    found = await registry.events(IRIS, limit=2)
    assert [(each.key, each.message) for each in found] == [(IRIS, "no. 2"), (IRIS, "no. 3")]
    assert found[0].at.tzinfo is UTC


async def test_events_are_kept_up_to_a_bound(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore.plugins.sql_registry.registry.EVENTS_KEPT", 10)
    for start in range(0, 30, 6):
        await registry.add_events(
            [Event(kind="ready", key=IRIS, message=str(start + n)) for n in range(6)]
        )
    found = await registry.events(limit=100)
    assert [each.message for each in found] == [str(number) for number in range(20, 30)]


async def test_text_that_a_database_cannot_keep_is_kept_as_well_as_it_can(
    registry: SqlRegistry,
) -> None:
    await registry.add_events([Event(kind="failed", key=IRIS, message="a\0b \N{SNOWMAN} ' \ud800")])
    (found,) = await registry.events()
    assert found.message == "a\N{REPLACEMENT CHARACTER}b \N{SNOWMAN} ' ?"


async def test_the_last_wake_of_each_version(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    assert await registry.last_wakes() == {}
    for _ in range(2):
        await registry.set_wish(IRIS, Wish.SLEEP, "")
        await registry.set_wish(IRIS, Wish.RUN, "")
    last = (await registry.wakes(IRIS))[-1]
    assert await registry.last_wakes() == {IRIS: last.asked_at}


async def test_what_became_of_a_wake_is_kept(registry: SqlRegistry) -> None:
    await registry.add_version(examples_of.version(), [])
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    for minutes in (0, 5):
        await registry.set_wish(IRIS, Wish.RUN, "a request", at=examples_of.NOON + minutes * MINUTE)
        if not minutes:
            ready = VersionStatus(state=State.READY, since=examples_of.NOON + MINUTE)
            await registry.save_status({IRIS: ready})
            await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    first, last = await registry.wakes(IRIS)
    assert (first.asked_at, first.held, last.asked_at) == (
        examples_of.NOON,
        0,
        examples_of.NOON + 5 * MINUTE,
    )
    over = last.model_copy(
        update={
            "applied_at": examples_of.NOON + 5 * MINUTE,
            "scheduled_at": examples_of.NOON + 6 * MINUTE,
            "image_at": examples_of.NOON + 7 * MINUTE,
            "started_at": examples_of.NOON + 8 * MINUTE,
            "ready_at": examples_of.NOON + 9 * MINUTE,
            "first_byte_at": examples_of.NOON + 10 * MINUTE,
            "held": 1000,
            "longest_hold": 4.25,
            "lost": 1,
        }
    )
    await registry.save_wakes([over])
    assert await registry.wakes(IRIS) == [first, over]
    assert await registry.open_wakes() == {}
    await registry.delete_version(IRIS)
    await registry.save_wakes([over])
    assert await registry.wakes(IRIS) == []


async def test_a_wake_that_is_to_sleep_again_is_broken_off(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    other = VersionKey("iris", "2")
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.set_wish(IRIS, Wish.RUN, "a request", at=examples_of.NOON)
    [wake] = (await registry.open_wakes()).values()
    before = datetime.now(UTC)
    await registry.set_wish(IRIS, Wish.SLEEP, "put to sleep by a user")
    assert await registry.open_wakes() == {}
    # A pass that was under way has seen more of it by then, and even that it was ready.
    late = {"held": 3, "applied_at": examples_of.NOON, "ready_at": examples_of.NOON + MINUTE}
    await registry.save_wakes([wake.model_copy(update=late)])
    [first] = await registry.wakes(IRIS)
    assert (first.held, first.applied_at, first.ready_at) == (3, examples_of.NOON, None)
    assert first.ended_at
    assert before <= first.ended_at <= datetime.now(UTC)
    assert (first.failed, first.why_ended) == (False, "put to sleep by a user")

    # Whoever waits since before that asks anew.
    await registry.set_wish(IRIS, Wish.RUN, "a request", at=examples_of.NOON)
    [first, second] = await registry.wakes(IRIS)
    assert second.asked_at == first.ended_at
    assert await registry.open_wakes() == {IRIS: second}
    ready = VersionStatus(state=State.READY, since=second.asked_at + MINUTE)
    await registry.save_status({IRIS: ready, other: ready})
    assert [each.ready_at for each in await registry.wakes(IRIS)] == [None, ready.since]
    assert await registry.wake_times() == {IRIS: {second.asked_at: 60.0}}


async def test_a_wake_of_what_is_collected_is_broken_off(registry: SqlRegistry) -> None:
    await add(registry, "1")
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.set_wish(IRIS, Wish.RUN, "a request", at=examples_of.NOON)
    why = "nobody called it for 30 days"
    await registry.collect(IRIS, Collected(at=examples_of.NOON, why=why))
    [wake] = await registry.wakes(IRIS)
    assert (wake.failed, wake.why_ended) == (False, why)
    assert await registry.open_wakes() == {}


async def test_a_wake_that_failed_is_never_ready(registry: SqlRegistry) -> None:
    await add(registry, "1")
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.set_wish(IRIS, Wish.RUN, "a request", at=examples_of.NOON)
    earlier = VersionStatus(state=State.FAILED, since=examples_of.NOON - MINUTE)
    await registry.save_status({IRIS: earlier})
    assert await registry.open_wakes(), "it failed before that wake"
    failed = VersionStatus(
        state=State.FAILED, since=examples_of.NOON + MINUTE, reason="exit code 3"
    )
    await registry.save_status({IRIS: failed})
    assert await registry.open_wakes() == {}
    await registry.save_status({IRIS: failed.model_copy(update={"state": State.READY})})
    [wake] = await registry.wakes(IRIS)
    assert (wake.ready_at, wake.ended_at) == (None, failed.since)
    assert (wake.failed, wake.why_ended) == (True, "exit code 3")
    assert await registry.wake_times() == {}


async def test_how_long_wakes_took_is_told_of_the_newest(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    assert await registry.wake_times() == {}
    asked = [examples_of.NOON + minutes * MINUTE for minutes in range(4)]
    for seconds, at in enumerate(asked, start=1):
        await registry.set_wish(IRIS, Wish.SLEEP, "idle")
        await registry.set_wish(IRIS, Wish.RUN, "a request", at=at)
        if seconds < 4:
            wake = (await registry.wakes(IRIS))[-1]
            ready_at = at + timedelta(seconds=seconds)
            await registry.save_wakes([wake.model_copy(update={"ready_at": ready_at})])
    assert await registry.wake_times() == {IRIS: dict(zip(asked, [1.0, 2.0, 3.0], strict=False))}
    # The newest of them is still under way.
    newest = await registry.wake_times(limit=2)
    assert list(newest[IRIS].items()) == [(asked[1], 2.0), (asked[2], 3.0)]
    since = asked[2] + timedelta(seconds=3)
    assert await registry.wake_times(since) == {IRIS: {asked[2]: 3.0}}
    assert await registry.wake_times(since + timedelta(seconds=1)) == {}
    await registry.delete_version(IRIS)
    assert await registry.wake_times() == {}
