"""A version that is woken because a plugin expects calls, on the real engine."""

from pathlib import Path

import pytest
from parts.platform import Up, until

pytestmark = pytest.mark.engine

PLUGIN = """
import longshore

@longshore.hookimpl
def longshore_expect_calls(version, calls, at):
    return f"it was called {len(calls)} time(s), and that becomes a habit"
"""


@pytest.fixture
def plugins(tmp_path: Path) -> str:
    (tmp_path / "expects.py").write_text(PLUGIN)
    return '[[plugin]]\npath = "expects.py"\n'


def test_what_was_called_is_woken_when_calls_are_expected(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, "--min", "0", "--idle", "1")
    assert until(lambda: up.status()["state"] == "asleep"), "nobody was ever called"
    assert up.predict().status_code == 200
    # Unless plugins are asked in the very second before it would sleep, and it stays awake.
    if until(lambda: up.status()["state"] == "asleep", 10):
        woken = '"it was called 1 time(s), and that becomes a habit"'
        assert until(lambda: woken in up.run("explain", "behave:1", "--json").stdout, 60)
    up.wait_for("ready")
    answer = up.predict()
    assert answer.status_code == 200
    assert "x-longshore-cold-start" not in answer.headers
