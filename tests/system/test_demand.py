"""Versions that sleep while nobody calls them, on the real engine: what callers notice of it."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from engine_cli import EngineCli
from parts.crewed import Caller
from parts.platform import Up, until

pytestmark = pytest.mark.engine

OPTIONS = ("--min", "0", "--idle")


@pytest.fixture(params=["1", "2"], ids=["one process", "two workers"])
def up(request: pytest.FixtureRequest, tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    platform = Up(tmp_path, engine_cli, "--workers", request.param)
    try:
        platform.start()
        yield platform
    finally:
        platform.clean_up()


def burst(up: Up, count: int) -> "Counter[int]":
    """Ask once on each of so many connections, all at once; return the statuses."""

    async def ask() -> Counter[int]:
        statuses: Counter[int] = Counter()
        callers = [Caller(int(up.url.rpartition(":")[2])) for _ in range(count)]
        try:
            await asyncio.gather(*(each.connect() for each in callers))
            path = "/v1/models/behave/predict"
            await asyncio.gather(*(each.ask(path, b"[1]") for each in callers))
        finally:
            for each in callers:
                statuses += each.statuses
                each.close()
        assert all(b"x-longshore-cold-start: " in each.head for each in callers)
        return statuses

    return asyncio.run(ask())


def asleep(up: Up) -> None:
    """Put the version to sleep, and wait until nothing of it runs."""
    up.run("sleep", "behave:1")
    assert until(lambda: not up.containers()), up.log.read_text()


def test_a_thousand_requests_to_a_sleeping_version_start_it_once(up: Up, behave: str) -> None:
    # So long that it is not ready before the last of them has come.
    slow = ("--env", "START_DELAY=3")
    up.run("register", "behave", "1", behave, *OPTIONS, "0", *slow)
    asleep(up)
    assert burst(up, 1000) == {200: 1000}
    assert len(up.containers()) == 1
    started = [each["kind"] for each in up.json("events", "behave:1")["events"]].count("started")
    assert started <= 2, "once when it was registered, and once more"

    def wake() -> dict[str, object]:
        [found] = up.json("show", "behave:1")["wakes"]
        return dict(found)

    assert until(lambda: wake()["held"] == 1000 and wake()["first_byte_at"]), wake()
    found = wake()
    moments = [
        found[each]
        for each in ("asked_at", "applied_at", "image_at", "started_at", "ready_at")
        if found[each]
    ]
    assert len(moments) == 5
    assert moments == sorted(moments, key=str)
    assert found["lost"] == 0
    decisions = up.json("explain", "behave:1")["decisions"]
    slept, woken = [each for each in decisions if each["hook"] == "wish"]
    assert (slept["plugin"], slept["outcome"], slept["inputs"]["held"]) == ("user", "sleep", 0)
    assert (woken["plugin"], woken["outcome"]) == ("core", "run")
    assert woken["inputs"]["held"] >= 1


def test_the_first_scaling_after_a_wake_is_explained(up: Up, behave: str) -> None:
    slow = ("--env", "START_DELAY=2")
    up.run("register", "behave", "1", behave, *OPTIONS, "0", "--max", "4", "--target", "4", *slow)
    asleep(up)
    assert burst(up, 60) == {200: 60}
    decisions = up.json("explain", "behave:1")["decisions"]
    scaled = [each for each in decisions if each["hook"] == "longshore_scale"]
    assert scaled, "from the one that a wake begins with to all of them"
    assert (scaled[0]["inputs"]["before"], scaled[-1]["outcome"]) == (1, 4)
    assert "scaled" in [each["kind"] for each in up.json("events", "behave:1")["events"]]


def test_an_idle_version_sleeps_and_the_next_request_is_answered(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, *OPTIONS, "3")
    assert until(lambda: not up.containers()), up.log.read_text()
    assert up.status()["state"] == "asleep"
    answer = up.predict("good morning")
    assert (answer.status_code, answer.text) == (200, "good morning")
    assert float(answer.headers["x-longshore-cold-start"]) > 0
    assert "x-longshore-cold-start" not in up.predict().headers
    assert until(lambda: not up.containers()), "and it sleeps again"
    told = up.run("explain", "behave:1").stdout
    assert "nobody asked it for anything" in told
    assert "a request came while it slept" in told


def test_a_version_that_is_kept_warm_does_not_sleep_by_itself(up: Up, behave: str) -> None:
    always = "daily 00:00-24:00 UTC"
    up.run("register", "behave", "1", behave, *OPTIONS, "1", "--warm", always)
    up.run("register", "behave", "2", behave, *OPTIONS, "1")
    assert until(lambda: up.status(version="2")["state"] == "asleep")
    assert up.status()["state"] == "ready"
    assert always in up.run("show", "behave:1").stdout
    up.run("sleep", "behave:1")
    assert until(lambda: not up.containers()), "a user's word counts"
    assert up.predict().status_code == 200


def test_a_stream_keeps_a_version_awake(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, *OPTIONS, "2")
    path = "/v1/models/behave/versions/1/raw/drip?count=80&every=0.1"
    with httpx.stream("GET", up.url + path, timeout=30) as answer:
        dripped = b"".join(answer.iter_raw())
        assert up.status()["state"] == "ready"
    assert dripped == b"." * 80
    assert until(lambda: not up.containers()), up.log.read_text()


def test_a_version_that_cannot_start_tells_all_who_wait_at_once(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, *OPTIONS, "0", "--env", "EXIT=3", check=False)
    asleep(up)
    began = time.monotonic()
    answers: list[httpx.Response] = []
    asking = [threading.Thread(target=lambda: answers.append(up.predict("[1]"))) for _ in range(20)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert {each.status_code for each in answers} == {503}
    assert all("cannot find the model" in each.json()["reason"] for each in answers)
    assert time.monotonic() - began < 30, "hold_seconds is 60"


def test_sleep_in_the_moment_of_requests_loses_none(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave, *OPTIONS, "0")
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=up.url, timeout=60) as client:
            while not over.is_set():
                answer = client.post("/v1/models/behave/predict", content=b"[1]")
                statuses[answer.status_code] += 1
                time.sleep(0.01)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    try:
        for _ in range(3):
            up.run("sleep", "behave:1")
            time.sleep(1)
    finally:
        over.set()
        for each in asking:
            each.join()
    assert set(statuses) == {200}, (statuses, up.log.read_text())
    assert len(up.json("show", "behave:1")["wakes"]) == 3
