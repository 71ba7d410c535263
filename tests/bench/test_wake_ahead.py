"""The page tells what the plugin gains and costs as it is."""

from pathlib import Path

import pytest
from bench import wake_ahead

PAGE = Path(__file__).parents[2] / "docs" / "waking.md"


def test_the_table_of_the_page_is_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    wake_ahead.main()
    assert capsys.readouterr().out in PAGE.read_text()


def test_who_comes_by_the_clock_waits_only_until_that_is_known() -> None:
    calls = [wake_ahead.BEGIN + day * wake_ahead.DAY for day in range(wake_ahead.DAYS)]
    assert wake_ahead.simulate(calls, ahead=False).waited == wake_ahead.DAYS
    assert wake_ahead.simulate(calls, ahead=True).waited == 3
