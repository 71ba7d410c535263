from collections.abc import Sequence
from datetime import timedelta

import pytest
from examples_of import NOON

from longshore.core.errors import Unavailable
from longshore.core.ledger import Ledger, durations, percentile, seen
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

IRIS = VersionKey("iris", "1")
SECOND = timedelta(seconds=1)
ASKED = Wake(key=IRIS, asked_at=NOON, reason="a request")
HELD = HoldsSeen(since=NOON, held=3, longest=4.5, first_byte_at=NOON + 5 * SECOND)


class Kept:
    """The part of a registry that keeps wakes."""

    def __init__(self, *wakes: Wake) -> None:
        self.kept = list(wakes)
        self.away = False

    async def wakes(self, key: VersionKey, limit: int = 100) -> Sequence[Wake]:
        return self.kept

    async def save_wake(self, wake: Wake) -> None:
        if self.away:
            raise Unavailable("SQL is away")
        self.kept[-1] = wake


def ready(at: int = 4) -> VersionStatus:
    return VersionStatus(state=State.READY, since=NOON + at * SECOND)


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
    wake = seen(ASKED, VersionStatus(state=State.STARTING, since=NOON), starts, None)
    assert (wake.scheduled_at, wake.started_at) == (NOON + SECOND, NOON + 2 * SECOND)
    assert (wake.ready_at, wake.image_at) == (None, None)
    later = running(started_at=NOON + 9 * SECOND)
    wake = seen(wake, ready(), later, Load(key=IRIS, holds=HELD))
    assert (wake.started_at, wake.ready_at) == (NOON + 2 * SECOND, NOON + 4 * SECOND)
    assert (wake.held, wake.longest_hold, wake.first_byte_at) == (3, 4.5, HELD.first_byte_at)


def test_what_was_held_for_an_earlier_wake_is_not_counted() -> None:
    earlier = HELD.model_copy(update={"since": NOON - 60 * SECOND})
    assert seen(ASKED, ready(), None, Load(key=IRIS, holds=earlier)).held == 0


async def test_a_wake_is_written_once_its_first_byte_was_sent() -> None:
    kept = Kept(*took(1, 2), ASKED)
    ledger = Ledger(kept)  # type: ignore[arg-type] # it uses no more of it
    await ledger.begin(IRIS)
    assert ledger.expected(IRIS) == 2
    ledger.applied(IRIS, NOON + SECOND)
    waits = Load(key=IRIS, holds=HELD.model_copy(update={"first_byte_at": None}))
    await ledger.review({IRIS: ready()}, {IRIS: running()}, {IRIS: waits}, NOON + 4 * SECOND)
    assert ledger.expected(IRIS) == 4
    assert kept.kept[-1].ready_at is None, "not yet"
    kept.away = True
    answered = Load(key=IRIS, holds=HELD)
    await ledger.review({IRIS: ready()}, {IRIS: running()}, {IRIS: answered}, NOON + 6 * SECOND)
    kept.away = False
    await ledger.review({IRIS: ready()}, {IRIS: running()}, {IRIS: answered}, NOON + 7 * SECOND)
    wake = kept.kept[-1]
    assert (wake.applied_at, wake.ready_at) == (NOON + SECOND, NOON + 4 * SECOND)
    assert (wake.held, wake.first_byte_at) == (3, HELD.first_byte_at)
    assert ledger.expected(IRIS) == 4
    [(counts, total)] = ledger.counted().values()
    assert (sum(counts), total) == (1, 4)


async def test_a_wake_that_failed_is_let_go_of() -> None:
    kept = Kept(ASKED)
    ledger = Ledger(kept)  # type: ignore[arg-type] # it uses no more of it
    await ledger.begin(IRIS)
    failed = VersionStatus(state=State.FAILED, since=NOON)
    await ledger.review({IRIS: failed}, {}, {}, NOON)
    assert not ledger.under_way
    assert ledger.expected(IRIS) is None
    await ledger.review({}, {}, {}, NOON)
    assert not ledger.counted()
