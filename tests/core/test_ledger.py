from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from examples_of import NOON

from longshore.core.errors import Unavailable
from longshore.core.ledger import Ledger, seen
from longshore.core.names import VersionKey
from longshore.core.types import (
    HoldsSeen,
    Load,
    Replica,
    ReplicaState,
    State,
    VersionStatus,
    Wake,
    WorkloadStatus,
)
from longshore.core.wake_times import durations, percentile

IRIS = VersionKey("iris", "1")
SECOND = timedelta(seconds=1)
ASKED = Wake(key=IRIS, asked_at=NOON, reason="a request")
ASLEEP = VersionStatus(state=State.ASLEEP, since=NOON)
STARTING = VersionStatus(state=State.STARTING, since=NOON)


class Kept:
    """The part of a registry that keeps wakes."""

    def __init__(self, *wakes: Wake) -> None:
        self.kept = {wake.asked_at: wake for wake in wakes}
        self.away = False
        self.writes = 0

    @property
    def newest(self) -> Wake:
        return self.kept[max(self.kept)]

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("SQL is away")

    async def open_wakes(self) -> Mapping[VersionKey, Wake]:
        self._answer()
        newest = self.newest
        return {} if newest.ready_at or newest.ended_at else {IRIS: newest}

    async def wake_times(
        self, since: datetime | None, limit: int
    ) -> Mapping[VersionKey, Mapping[datetime, float]]:
        self._answer()
        found = {
            asked: (wake.ready_at - asked).total_seconds()
            for asked, wake in self.kept.items()
            if wake.ready_at and not (since and wake.ready_at < since)
        }
        return {IRIS: found} if found else {}

    async def save_wakes(self, wakes: Sequence[Wake]) -> None:
        self._answer()
        self.writes += 1
        for wake in wakes:
            self.kept[wake.asked_at] = wake

    def end(self, why: str) -> None:
        """End the newest, as a wish or a status does."""
        update = {"ended_at": NOON, "why_ended": why}
        self.kept[self.newest.asked_at] = self.newest.model_copy(update=update)


class Passes:
    """A ledger that is led through passes as a controller does."""

    def __init__(self, *wakes: Wake) -> None:
        self.kept = Kept(*wakes)
        self.ledger = Ledger(self.kept)  # type: ignore[arg-type] # it uses no more of it

    @property
    def wake(self) -> Wake:
        return self.kept.newest

    def under_way(self) -> bool:
        return self.ledger.under_way

    async def one(
        self,
        at: float,
        status: VersionStatus,
        *,
        holds: HoldsSeen | None = None,
        held: int = 0,
        have: WorkloadStatus | None = None,
    ) -> None:
        """Make one at a second after noon."""
        now = NOON + at * SECOND
        await self.ledger.read([IRIS], now)
        loads = {IRIS: Load(key=IRIS, holds=holds, held=held)}
        await self.ledger.review({IRIS: status}, {IRIS: have} if have else {}, loads, now)


def ready(at: float = 4) -> VersionStatus:
    return VersionStatus(state=State.READY, since=NOON + at * SECOND)


def asked(at: float, ready: float | None = None) -> Wake:
    """Return a wake by the seconds after noon."""
    ready_at = None if ready is None else NOON + ready * SECOND
    return Wake(key=IRIS, asked_at=NOON + at * SECOND, ready_at=ready_at, reason="a request")


def held(since: float, count: int, longest: float, **more: float) -> HoldsSeen:
    """Return what was held by the seconds after noon."""
    moments = {name: NOON + seconds * SECOND for name, seconds in more.items()}
    return HoldsSeen.model_validate(
        {"since": NOON + since * SECOND, "held": count, "longest": longest, **moments}
    )


def running(**moments: object) -> WorkloadStatus:
    replica = Replica.model_validate({"id": "a", "state": ReplicaState.READY, **moments})
    return WorkloadStatus(key=IRIS, fingerprint="f", replicas=(replica,))


def took(*seconds: float) -> list[Wake]:
    return [ASKED.model_copy(update={"ready_at": NOON + each * SECOND}) for each in seconds]


@pytest.mark.parametrize(
    ("seconds", "share", "expected"),
    [([], 0.95, None), ([3], 0.95, 3), ([3, 1, 2], 0.5, 2), (range(1, 101), 0.95, 95)],
)
def test_percentiles(seconds: Sequence[float], share: float, expected: float | None) -> None:
    assert percentile(seconds, share) == expected


def test_a_wake_that_never_came_to_readiness_took_no_time() -> None:
    assert durations([ASKED, *took(2)]) == [2]


def test_phases_are_gathered_and_never_change_again() -> None:
    starts = running(scheduled_at=NOON + SECOND, started_at=NOON + 2 * SECOND)
    wake = seen(ASKED, STARTING, starts)
    assert (wake.scheduled_at, wake.started_at) == (NOON + SECOND, NOON + 2 * SECOND)
    assert (wake.ready_at, wake.image_at) == (None, None)
    later = running(started_at=NOON + 9 * SECOND)
    wake = seen(wake, ready(), later)
    assert (wake.started_at, wake.ready_at) == (NOON + 2 * SECOND, NOON + 4 * SECOND)
    assert seen(wake, ready(9), later) == wake


async def test_phases_are_written_as_they_come_and_nothing_else() -> None:
    passes = Passes(ASKED)
    await passes.one(0, ASLEEP)
    assert passes.kept.writes == 0
    await passes.ledger.begin(IRIS)
    passes.ledger.applied(IRIS, NOON + SECOND)
    passes.ledger.applied(IRIS, NOON + 2 * SECOND)
    await passes.one(2, STARTING)
    assert passes.wake.applied_at == NOON + SECOND
    await passes.one(3, STARTING, holds=held(0, 1, 0), held=1)
    await passes.one(3.5, STARTING, holds=held(0, 2, 0), held=2)
    assert passes.kept.writes == 1, "how many are held, it tells later"
    await passes.one(4, STARTING, have=running(started_at=NOON + 2 * SECOND))
    assert passes.wake.started_at == NOON + 2 * SECOND
    await passes.one(5, ready(4), holds=held(0, 2, 4.5, until=4.5, first_byte_at=5))
    assert passes.wake.first_byte_at == NOON + 5 * SECOND
    for at in (6, 7, 8, 9):
        await passes.one(at, ready(4), holds=held(0, 2, 4.5, until=4.5, first_byte_at=5))
    assert passes.kept.writes == 3
    assert (passes.wake.held, passes.wake.longest_hold) == (2, 4.5)


async def test_a_wake_is_counted_once_and_foretells_the_next() -> None:
    passes = Passes(asked(-90, -89), asked(-60, -58), ASKED)
    await passes.one(1, STARTING)
    assert passes.ledger.expected(IRIS) == 2
    assert passes.ledger.woken_at(IRIS) == NOON
    assert passes.under_way()
    for at in (4, 5):
        await passes.one(at, ready())
    assert passes.ledger.expected(IRIS) == 4
    assert passes.ledger.woken_at(IRIS) is None
    assert not passes.under_way()
    [(counts, total)] = passes.ledger.counted().values()
    assert (sum(counts), total) == (1, 4)


async def test_what_was_held_is_counted_until_nothing_is_held_any_more() -> None:
    """Eight callers of one second each, one at a time."""
    passes = Passes(ASKED)
    for at in range(1, 5):
        await passes.one(at, STARTING, holds=held(0, 8, 0), held=8)
    for at in range(4, 12):
        left = 11 - at
        holds = held(0, 8, at, first_byte_at=5, **({} if left else {"until": 11}))
        await passes.one(at, ready(), holds=holds, held=left)
    for at in (12, 13):
        await passes.one(at, ready(), holds=held(0, 8, 11, first_byte_at=5, until=11))
    assert (passes.wake.held, passes.wake.longest_hold) == (8, 11)


async def test_where_requests_wait_without_a_break_they_are_counted_for_some_minutes() -> None:
    passes = Passes(ASKED)
    for at in (4, 100, 200, 300, 310, 400, 500):
        await passes.one(at, ready(), holds=held(0, at, 4, first_byte_at=5), held=1)
    assert passes.wake.held == 310


async def test_what_another_wake_held_is_not_counted() -> None:
    passes = Passes(asked(60))
    before = held(0, 3, 4.5, until=59)
    await passes.one(61, STARTING, holds=before)
    await passes.one(64, ready(64), holds=before)
    # Its only replica is lost a moment later, so that requests wait again.
    await passes.one(66, ready(64), holds=held(65.5, 9, 0), held=9)
    for at in (67, 68, 69, 70):
        await passes.one(at, ready(64), holds=held(65.5, 9, 1, until=67))
    assert (passes.wake.ready_at, passes.wake.held) == (NOON + 64 * SECOND, 0)


async def test_each_wake_has_its_own_phases_and_holds_however_soon_the_next_one_comes() -> None:
    """Callers of the first were told 503 by ``hold_seconds``, and their first byte never came."""
    passes = Passes(ASKED)
    await passes.one(4, STARTING, holds=held(0, 5, 4, until=4))
    await passes.one(7, ready(6), holds=held(0, 5, 4, until=4))
    passes.kept.kept[NOON + 10 * SECOND] = asked(10)
    await passes.one(10, ASLEEP, holds=held(0, 5, 4, until=4))
    passes.kept.end("put to sleep by a user")
    await passes.one(12, ASLEEP, holds=held(0, 5, 4, until=4))
    passes.kept.kept[NOON + 20 * SECOND] = asked(20)
    await passes.one(20, ASLEEP, holds=held(20, 2, 0), held=2)
    passes.ledger.applied(IRIS, NOON + 20 * SECOND)
    for at in (27, 28, 29, 30):
        await passes.one(at, ready(26), holds=held(20, 2, 6, until=26, first_byte_at=27))
    first, second, third = (passes.kept.kept[each] for each in sorted(passes.kept.kept))
    assert (first.ready_at, first.held, first.first_byte_at) == (NOON + 6 * SECOND, 5, None)
    assert (second.ready_at, second.held) == (None, 0)
    assert (third.applied_at, third.ready_at) == (NOON + 20 * SECOND, NOON + 26 * SECOND)
    assert (third.held, third.first_byte_at) == (2, NOON + 27 * SECOND)


async def test_a_wake_that_failed_keeps_what_was_held_and_counts_for_nothing() -> None:
    passes = Passes(ASKED)
    await passes.one(1, STARTING, holds=held(0, 5, 0), held=5)
    assert passes.under_way()
    failed = VersionStatus(state=State.FAILED, since=NOON + 2 * SECOND)
    passes.kept.end("exit code 3")
    for at in (2, 3, 4, 5):
        await passes.one(at, failed, holds=held(0, 5, 2, until=2))
    assert not passes.under_way()
    assert (passes.wake.held, passes.wake.longest_hold) == (5, 2)
    await passes.one(50, ready(50))
    assert passes.wake.ready_at is None
    assert passes.ledger.expected(IRIS) is None
    assert not passes.ledger.counted()


async def test_a_wake_that_is_broken_off_is_under_way_no_more() -> None:
    passes = Passes(ASKED)
    await passes.one(1, STARTING)
    passes.kept.end("put to sleep by a user")
    await passes.one(2, ASLEEP)
    assert not passes.under_way()
    assert passes.ledger.woken_at(IRIS) is None
    await passes.one(3, ready(3))
    assert passes.wake.ready_at is None
    assert not passes.ledger.counted()


async def test_while_sql_is_away_what_is_known_stays_and_is_written_later() -> None:
    passes = Passes(asked(-60, -58), ASKED)
    await passes.one(1, STARTING)
    passes.kept.away = True
    await passes.one(4, ready())
    assert passes.ledger.expected(IRIS) == 2
    passes.kept.away = False
    await passes.one(5, ready())
    assert passes.wake.ready_at == NOON + 4 * SECOND
    await passes.one(6, ready())
    assert passes.ledger.expected(IRIS) == 4


async def test_who_comes_to_lead_knows_the_wakes_of_before() -> None:
    passes = Passes(asked(-60, -58))
    await passes.one(0, ASLEEP)
    assert passes.ledger.expected(IRIS) == 2
    passes.kept.kept[NOON] = asked(0, 9)
    await passes.one(60, ASLEEP)
    passes.ledger.leadership_changed()
    await passes.one(61, ASLEEP)
    assert passes.ledger.expected(IRIS) == 9
    passes.ledger.forget([IRIS])
    assert passes.ledger.expected(IRIS) is None


async def test_a_wake_that_is_opened_while_a_pass_reads_is_not_taken_for_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = Passes(asked(-60, -58))
    before = await passes.kept.open_wakes()

    async def late() -> Mapping[VersionKey, Wake]:
        """Answer with what was there before a request wakes the version."""
        monkeypatch.undo()
        passes.kept.kept[NOON] = ASKED
        await passes.ledger.begin(IRIS)
        return before

    monkeypatch.setattr(passes.kept, "open_wakes", late)
    await passes.one(1, STARTING)
    assert passes.ledger.woken_at(IRIS) == NOON
    await passes.one(4, ready())
    assert passes.wake.ready_at == NOON + 4 * SECOND
