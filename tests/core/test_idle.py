from datetime import timedelta

import pytest
from examples_of import NOON, version

from longshore.core.idle import why_sleep, why_wake
from longshore.core.types import Load, State, VersionRecord, VersionStatus, Wish

SECOND = timedelta(seconds=1)
IDLE = {"min": 0, "idle": 600}


def record(state: State = State.READY, wish: Wish = Wish.RUN, **scaling: object) -> VersionRecord:
    return VersionRecord(
        version=version(scaling={**IDLE, **scaling}),
        wish=wish,
        status=VersionStatus(state=state, since=NOON),
    )


def sleeps(of: VersionRecord, at: float, started: float = -3600, **load: object) -> bool:
    """Return whether it goes to sleep so many seconds after it became ready."""
    seen = Load.model_validate({"key": of.version.key, **load})
    now, began = NOON + at * SECOND, NOON + started * SECOND
    return why_sleep(of, seen, started=began, now=now) is not None


def test_it_sleeps_so_long_after_it_became_ready_and_no_earlier() -> None:
    assert not sleeps(record(), at=599)
    assert sleeps(record(), at=600)


def test_idle_time_counts_from_the_last_answer() -> None:
    answered = NOON + 300 * SECOND
    assert not sleeps(record(), at=899, last_answer_at=answered)
    assert sleeps(record(), at=900, last_answer_at=answered)


@pytest.mark.parametrize("busy", ["in_flight", "held"])
def test_it_stays_awake_while_somebody_waits_for_an_answer(busy: str) -> None:
    assert not sleeps(record(), at=86_400, **{busy: 1})


@pytest.mark.parametrize("state", [each for each in State if each is not State.READY])
def test_it_does_not_sleep_before_it_was_ready(state: State) -> None:
    assert not sleeps(record(state), at=86_400)


def test_a_new_controller_counts_from_its_start() -> None:
    assert not sleeps(record(), at=10_000, started=9_401)
    assert sleeps(record(), at=10_000, started=9_400)


def test_nothing_is_judged_before_all_routers_were_heard() -> None:
    assert not sleeps(record(idle=1), at=10_001.5, started=10_000)
    assert sleeps(record(idle=1), at=10_002, started=10_000)


def test_some_never_sleep() -> None:
    assert not sleeps(record(min=1), at=86_400)
    assert not sleeps(record(idle=0), at=86_400)
    assert not sleeps(record(wish=Wish.SLEEP), at=86_400), "it does already"


WARM = ("thu 12:00-13:00 UTC",)
"""NOON is on a Thursday."""


def test_it_does_not_sleep_while_it_is_kept_warm_nor_right_before() -> None:
    assert not sleeps(record(warm=WARM), at=3599)
    assert sleeps(record(warm=WARM), at=3600), "it was idle for long"
    later = ("thu 13:00-14:00 UTC",)
    assert sleeps(record(warm=later), at=3539)
    assert not sleeps(record(warm=later), at=3540)


def wakes(at: float, *, asleep_since: float = -3600, takes: float = 0, **fields: object) -> bool:
    """Return whether a version that is kept warm from NOON on is woken so many seconds later."""
    scaling = {**IDLE, "warm": WARM}
    found = VersionRecord(
        version=version(scaling=scaling),
        wish=Wish.SLEEP,
        status=VersionStatus(state=State.ASLEEP, since=NOON + asleep_since * SECOND),
    ).model_copy(update=fields)
    return why_wake(found, takes=takes, now=NOON + at * SECOND) is not None


def test_it_wakes_when_its_time_begins_or_as_long_before_as_that_takes() -> None:
    assert not wakes(-1)
    assert wakes(0)
    assert wakes(3599), "a controller was away when it began"
    assert not wakes(3600)
    assert not wakes(-31, takes=30)
    assert wakes(-30, takes=30)


def test_one_that_was_put_to_sleep_meanwhile_sleeps() -> None:
    assert not wakes(1800, asleep_since=600)


def test_only_what_sleeps_is_woken() -> None:
    assert not wakes(0, wish=Wish.COLLECT)
    going = VersionStatus(state=State.READY, since=NOON - SECOND)
    assert not wakes(0, status=going), "once it does"
    assert why_wake(record(State.ASLEEP, Wish.SLEEP), takes=0, now=NOON) is None
