from datetime import UTC, datetime, timedelta

import pytest
from examples_of import NOON
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.windows import next_after, open_at, parse

WEEKDAYS = "mon-fri 08:00-18:00 Europe/Zurich"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("  Mon-FRI   08:00-18:00 Europe/Zurich ", WEEKDAYS),
        ("sat,sun 00:00-24:00 UTC", "sat,sun 00:00-24:00 UTC"),
        ("fri-mon,wed 22:30-06:00 America/New_York", "fri-mon,wed 22:30-06:00 America/New_York"),
        ("daily 09:00-09:01 Asia/Kolkata", "daily 09:00-09:01 Asia/Kolkata"),
    ],
)
def test_windows_have_one_spelling(text: str, spelling: str) -> None:
    assert parse(text).text == spelling


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no time of the week: write it as 'mon-fri 08:00-18:00 Europe/Zurich'"),
        ("mon-fri 08:00-18:00", "is no time of the week"),
        ("mon-fri 8:00-18:00 UTC", "is no time of the week"),
        ("mon fri 08:00-18:00 UTC", "is no time of the week"),
        ("0 8 * * 1-5", "is no time of the week"),
        ("monday 08:00-18:00 UTC", "'monday' is no day: write mon, tue"),
        ("mon-fri-sun 08:00-18:00 UTC", "is no day"),
        ("mon, 08:00-18:00 UTC", "'' is no day"),
        ("daily 08:60-18:00 UTC", "08:60 is no time of day"),
        ("daily 08:00-24:01 UTC", "24:01 is no time of day"),
        ("daily 24:00-06:00 UTC", "no window can begin at 24:00"),
        ("daily 08:00-08:00 UTC", "no time at all; the whole day is 00:00-24:00"),
        ("daily 08:00-18:00 Zurich", "'Zurich' is no time zone"),
        ("daily 08:00-18:00 Europe", "'Europe' is no time zone"),
        ("daily 08:00-18:00 ../../etc/passwd", "is no time zone"),
    ],
)
def test_what_is_no_window_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="no ") as refused:
        parse(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("window", "open_from", "open_until"),
    [
        # The 5th of January 2026 is a Monday.
        (WEEKDAYS, "2026-01-05T07:00", "2026-01-05T17:00"),
        (WEEKDAYS, "2026-07-06T06:00", "2026-07-06T16:00"),
        ("fri-mon 22:00-02:00 UTC", "2026-01-05T22:00", "2026-01-06T02:00"),
        ("sun 00:00-24:00 UTC", "2026-01-04T00:00", "2026-01-05T00:00"),
        # On the 29th of March the clocks of Zurich go from 2 to 3.
        ("sun 01:30-03:30 Europe/Zurich", "2026-03-29T00:30", "2026-03-29T01:30"),
        # On the 25th of October they show the hour from 2 to 3 twice, and the first one counts.
        ("sun 01:30-02:30 Europe/Zurich", "2026-10-24T23:30", "2026-10-25T00:30"),
        ("sat 22:00-04:00 Europe/Zurich", "2026-10-24T20:00", "2026-10-25T03:00"),
    ],
)
def test_a_window_is_open_from_its_first_moment_to_its_last(
    window: str, open_from: str, open_until: str
) -> None:
    since, until, moment = at(open_from), at(open_until), timedelta(microseconds=1)
    assert open_at([window], since - moment) is None
    opening = open_at([window], since)
    assert opening is not None
    assert (opening.since, opening.until, opening.window) == (since, until, window)
    assert open_at([window], until - moment) == opening
    assert open_at([window], until) is None


def test_of_several_windows_the_one_that_ends_last_counts() -> None:
    windows = ["daily 08:00-10:00 UTC", "daily 09:00-12:00 UTC"]
    opening = open_at(windows, at("2026-01-05T09:30"))
    assert opening
    assert opening.until == at("2026-01-05T12:00")
    assert open_at([], at("2026-01-05T09:30")) is None


def test_the_next_opening_may_be_a_week_away() -> None:
    found = next_after(["mon 08:00-09:00 UTC"], at("2026-01-05T08:00"))
    assert found
    assert found.since == at("2026-01-12T08:00")
    assert next_after([], at("2026-01-05T08:00")) is None


@given(
    st.timedeltas(timedelta(0), timedelta(days=5000)),
    st.sampled_from([WEEKDAYS, "daily 23:00-22:59 UTC", "sat,wed 00:00-24:00 Asia/Kathmandu"]),
)
def test_what_opens_next_is_open_then(later: timedelta, window: str) -> None:
    now = NOON + later
    following = next_after([window], now)
    assert following
    assert now < following.since <= now + timedelta(days=8)
    assert open_at([window], following.since) == following
