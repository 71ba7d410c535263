"""What the built-in plugin makes of histories of calls."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from examples_of import version
from pydantic import ValidationError

from longshore.core.foresight import slot_of
from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import read_plugins_file
from longshore.plugins.wake_ahead import WakeAheadSettings, why_expected

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NINE = timedelta(hours=9)


def expected(
    days: Iterable[int], at: timedelta, *, slack: float = 5, zone: str = "UTC"
) -> str | None:
    """Return what is expected so long after MONDAY, of calls at nine o'clock on these days."""
    calls = sorted(slot_of(MONDAY + day * DAY + NINE) for day in days)
    return why_expected(calls, MONDAY + at, zone=ZoneInfo(zone), slack=timedelta(minutes=slack))


def test_three_of_four_days_make_a_habit() -> None:
    assert expected([-1, -2, -3], NINE) == "it was called at this time on 3 of the last 4 days"
    assert expected([-1, -2, -4], NINE)
    assert not expected([-1, -2], NINE)
    assert not expected([-1, -2, -5, -6], NINE)


def test_three_of_four_weeks_make_a_habit() -> None:
    assert expected([-7, -14, -28], NINE) == (
        "it was called at this time on 3 of the last 4 Mondays"
    )
    assert not expected([-7, -14], NINE)
    assert not expected([-7, -14, -35], NINE)
    assert not expected([-7, -14, -21], NINE + DAY), "on a Tuesday"


def test_what_is_called_on_working_days_is_not_expected_on_sundays() -> None:
    working = [-day for day in range(1, 29) if (MONDAY - day * DAY).weekday() < 5]
    sunday = NINE - DAY
    assert expected(working, NINE)
    assert not expected([day for day in working if day < -1], sunday)
    first_week = [day for day in working if -7 < day < -1]
    assert expected(first_week, sunday - DAY), "nobody knows yet what a Saturday is like"


@pytest.mark.parametrize(
    ("minutes", "slack", "is_expected"),
    [
        (-6, 5, False),
        (-5, 5, True),
        (9, 5, True),
        (10, 5, False),
        (-1, 0, False),
        (0, 0, True),
        (4, 0, True),
        (5, 0, False),
    ],
)
def test_it_is_expected_a_while_before_its_slot_until_a_while_after(
    minutes: float, slack: float, is_expected: bool
) -> None:
    at = NINE + timedelta(minutes=minutes)
    assert bool(expected([-1, -2, -3], at, slack=slack)) is is_expected


def test_the_same_time_is_that_of_the_clocks_of_a_place() -> None:
    zurich = ZoneInfo("Europe/Zurich")
    sunday = datetime(2026, 3, 29, 9, tzinfo=zurich)
    calls = [slot_of((sunday - day * DAY).astimezone(UTC)) for day in (3, 2, 1)]
    nine = sunday.astimezone(UTC)
    slack = timedelta()
    assert why_expected(calls, nine, zone=zurich, slack=slack), "the clocks went on last night"
    assert not why_expected(calls, nine, zone=ZoneInfo("UTC"), slack=slack)


def test_a_habit_that_ended_is_given_up() -> None:
    daily = range(-60, 0)
    asked = [day for day in range(30) if expected(daily, NINE + day * DAY)]
    assert asked == list(range(14)), "for two weeks, of which each weekday is known"


async def test_it_is_enabled_by_plugins_toml_alone(tmp_path: Path) -> None:
    config = tmp_path / "plugins.toml"
    config.write_text("")
    plugins = build_plugins(read_plugins_file(config))
    assert "wake_ahead" not in {each.name for each in plugins.loaded}
    config.write_text(
        '[[plugin]]\nname = "wake_ahead"\nsettings = { zone = "Europe/Zurich", slack = 10 }\n'
    )
    plugins = build_plugins(read_plugins_file(config))
    calls = [slot_of(MONDAY - day * DAY) for day in (3, 2, 1)]
    answer = await plugins.hooks.first(
        "longshore_expect_calls", version=version(), calls=calls, at=MONDAY
    )
    assert answer
    assert answer.plugin == "wake_ahead"


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="'Zurich' is no time zone"):
        WakeAheadSettings.model_validate({"zone": "Zurich"})
