"""What `show` tells of wakes that follow each other closely, on the real engine."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from engine_cli import EngineCli
from parts.platform import Up, until

pytestmark = pytest.mark.engine

ASLEEP = ("--min", "0", "--idle", "0")


@pytest.fixture(params=["1", "2"], ids=["one process", "two workers"])
def up(request: pytest.FixtureRequest, tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    environment = {"LONGSHORE_HOLD_SECONDS": "4"}
    platform = Up(tmp_path, engine_cli, "--workers", request.param, environment=environment)
    try:
        platform.start()
        yield platform
    finally:
        platform.clean_up()


def wakes(up: Up) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.json("show", "behave:1")["wakes"]
    return found


def took(wake: dict[str, Any], phase: str) -> float:
    at = [datetime.fromisoformat(wake[each]) for each in ("asked_at", phase)]
    return (at[1] - at[0]).total_seconds()


def asleep(up: Up) -> None:
    up.run("sleep", "behave:1")
    assert until(lambda: not up.containers()), up.log.read_text()


def test_each_wake_has_what_is_its_own(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, *ASLEEP, "--env", "START_DELAY=6")
    asleep(up)
    with ThreadPoolExecutor(5) as callers:
        answers = list(callers.map(lambda _: up.predict(), range(5)))
    assert [each.status_code for each in answers] == [503] * 5, "of hold_seconds"
    up.wait_for("ready")
    asleep(up)

    up.run("wake", "behave:1", "--no-wait")
    assert until(lambda: wakes(up)[-1]["applied_at"]), "while it is under way"
    up.run("sleep", "behave:1")
    asleep(up)
    time.sleep(3)

    up.run("wake", "behave:1", "--no-wait")
    time.sleep(5)
    refused = until(lambda: up.predict().status_code == 200)
    assert refused
    assert until(lambda: wakes(up)[-1]["first_byte_at"] and wakes(up)[-1]["held"])
    first, second, third = wakes(up)
    assert 6 <= took(first, "ready_at") < 12
    assert (first["held"], first["first_byte_at"]) == (5, None)
    assert 3.5 < first["longest_hold"] < 6
    assert second["ready_at"] is None
    assert (second["failed"], second["why_ended"]) == (False, "put to sleep by a user")
    assert took(second, "ended_at") < 5
    assert third["applied_at"]
    assert third["started_at"]
    assert 6 <= took(third, "ready_at") < 12
    assert (third["held"], third["lost"]) == (1, 0)
    told = up.run("show", "behave:1").stdout
    assert "put to sleep by a user; woken by a user" in told
    seconds = up.json("show", "behave:1")["wake_seconds"]
    assert 6 <= seconds["p50"] <= seconds["p95"] < 12


def test_what_is_held_counts_until_nobody_waits(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, *ASLEEP, "--env", "WORK=0.5", "--concurrency", "1")
    asleep(up)
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: up.predict(), range(4)))
    assert [each.status_code for each in answers] == [200] * 4
    longest = max(float(each.headers["x-longshore-cold-start"]) for each in answers)
    assert until(lambda: abs(wakes(up)[-1]["longest_hold"] - longest) < 0.05), (wakes(up), longest)
    assert wakes(up)[-1]["held"] == 4


def test_a_wake_that_fails_says_so_and_retry_after_goes_by_the_others(
    up: Up, behave: str, tmp_path: Path
) -> None:
    up.run("register", "behave", "1", behave, *ASLEEP, "--env", "START_DELAY=6")
    asleep(up)
    up.run("wake", "behave:1")
    asleep(up)
    up.kill()
    up.start()
    up.run("wake", "behave:1", "--no-wait")
    time.sleep(1)
    refused = up.predict()
    assert refused.status_code == 503, "after four of its six seconds"
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    up.wait_for("ready")
    asleep(up)
    up.run("wake", "behave:1", "--no-wait")
    assert until(up.containers)
    time.sleep(1)
    for container in up.containers():
        up._engine.run("kill", container)  # noqa: SLF001
    assert until(lambda: wakes(up)[-1]["ended_at"])
    assert until(lambda: up.status()["state"] == "ready")
    failed = wakes(up)[-1]
    assert (failed["failed"], failed["ready_at"]) == (True, None)
    assert "137" in failed["why_ended"]
    assert up.json("show", "behave:1")["wake_seconds"]["p95"] < 12
