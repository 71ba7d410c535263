"""``longshore up --workers 2`` on one machine: what is promised when one of its processes fails."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from engine_cli import EngineCli
from parts.platform import Up, until
from parts.processes import workers_of

pytestmark = pytest.mark.engine


@pytest.fixture
def up(tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    """A running platform with two workers."""
    platform = Up(tmp_path, engine_cli, "--workers", "2")
    try:
        platform.start()
        yield platform
    finally:
        platform.clean_up()


def workers(up: Up) -> list[int]:
    """Return the workers of a platform that runs."""
    assert up.process
    return workers_of(up.process.pid)


def test_the_platform_works_as_with_one(up: Up, behave: str) -> None:
    registered = up.run("register", "behave", "1", behave)
    assert "ready" in registered.stdout + registered.stderr
    assert up.run("predict", "behave", "-d", "[[5.1, 3.5]]").stdout.strip() == "[[5.1, 3.5]]"
    assert "behave listens" in up.run("logs", "behave").stdout
    assert len(workers(up)) == 2
    for number in range(8):
        assert up.predict(f"{number}").text == f"{number}"
    counted = 'longshore_requests_total{model="behave",status="2xx",version="1"} 9.0'
    assert until(lambda: counted in up.get("/metrics").text, 10), up.get("/metrics").text
    up.run("delete", "behave:1")
    assert until(lambda: not up.containers())


def test_warm_models_are_served_while_the_parent_is_stuck(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    assert up.process
    before = workers(up)
    up.process.send_signal(signal.SIGSTOP)
    try:
        # Longer than a silent worker would be waited for.
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            assert up.predict("warm").text == "warm"
            assert up.get("/healthz").status_code == 200
            time.sleep(0.2)
    finally:
        up.process.send_signal(signal.SIGCONT)
    assert up.get("/api/models").status_code == 200
    assert up.predict().status_code == 200
    assert workers(up) == before, up.log.read_text()


def test_a_killed_parent_leaves_no_worker_behind(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    before, containers = workers(up), up.containers()
    assert len(before) == 2
    up.kill()
    assert until(lambda: not any(Path(f"/proc/{each}").exists() for each in before), 10)
    assert up.containers(everything=False) == containers
    up.start()
    assert until(lambda: up.predict().status_code == 200, 10)
    assert up.containers() == containers


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_requests_finish_and_ends_everything_in_order(
    up: Up, behave: str, how: signal.Signals
) -> None:
    up.run("register", "behave", "1", behave)
    before = workers(up)
    assert all(os.getpgid(each) != os.getpgid(0) for each in before), "Ctrl-C is for the parent"
    statuses: Counter[int] = Counter()

    def ask() -> None:
        path = "/v1/models/behave/versions/1/raw/slow?seconds=3"
        statuses[httpx.get(up.url + path, timeout=30).status_code] += 1

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    metrics = 'longshore_requests_in_flight{model="behave",version="1"} 4.0'
    assert until(lambda: metrics in up.get("/metrics").text, 10)
    assert up.process
    up.process.send_signal(how)
    for each in asking:
        each.join()
    assert up.process.wait(60) == 0
    assert statuses == {200: 4}, up.log.read_text()
    assert not any(Path(f"/proc/{each}").exists() for each in before)
    assert up.containers() == []
    assert "Traceback" not in up.log.read_text()
    assert not (up.state / "parent.sock").exists()


def test_a_number_of_workers_that_cannot_be(tmp_path: Path, engine_cli: EngineCli) -> None:
    up = Up(tmp_path, engine_cli, "--workers", "65")
    with pytest.raises(AssertionError, match="--workers: "):
        up.start()
    assert not up.state.exists()
