from datetime import timedelta

import pytest
from examples_of import NOON, version

from longshore.core.idle import why_sleep
from longshore.core.types import Load, State, VersionRecord, VersionStatus, Wish

SECOND = timedelta(seconds=1)
IDLE = {"min": 0, "idle": 600}


def record(state: State = State.READY, wish: Wish = Wish.RUN, **scaling: float) -> VersionRecord:
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
