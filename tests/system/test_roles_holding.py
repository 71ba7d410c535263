"""Requests that wait for a version while a process that had to do with it dies."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from examples_of import version
from parts.crewed import Caller, Lost
from parts.postgres import Postgres
from parts.processes import clients_of, workers_of
from parts.roles import Installation, Process, installation
from parts.routed import until

from longshore.core.names import VersionKey
from longshore.core.types import Wake, Wish, utc_now

IRIS = VersionKey("iris", "1")
PREDICT, LONG_WAY = "/v1/models/iris/predict", "/v1/models/iris/versions/1/raw/predict"
HELD = 40


@pytest.fixture
async def world(tmp_path: Path, postgres: Postgres) -> AsyncIterator[Installation]:
    """One in which a version sleeps."""
    async with installation(tmp_path, postgres.new_database()) as running:
        await running.registry.add_version(version(), [])
        await running.registry.set_wish(IRIS, Wish.SLEEP, "test")
        yield running


class Crowd:
    """Clients of a process that have a question each; half of them take the fast lane."""

    def __init__(self, process: Process) -> None:
        self.callers = [Caller(int(process.url.rpartition(":")[2])) for _ in range(HELD)]
        self.lost: list[Caller] = []
        self.answers: Counter[bytes] = Counter()
        self._asking: list[asyncio.Task[None]] = []

    async def ask(self) -> None:
        """Ask, and wait for no answer."""
        for number, caller in enumerate(self.callers):
            await caller.connect()
            path = LONG_WAY if number % 2 else PREDICT
            self._asking.append(asyncio.create_task(self._ask(caller, path, b"[%d]" % number)))

    async def _ask(self, caller: Caller, path: str, body: bytes) -> None:
        try:
            answer = await caller.ask(path, body)
            assert b"x-longshore-cold-start: " in caller.head, answer
            self.answers[answer] += 1
        except Lost:
            self.lost.append(caller)

    @property
    def ports(self) -> set[int]:
        """Those from which they ask."""
        writers = [each.writer for each in self.callers if each.writer]
        return {each.get_extra_info("sockname")[1] for each in writers}

    async def heard(self) -> "Counter[int]":
        """Wait until all are answered or lost, and return the statuses."""
        await asyncio.gather(*self._asking)
        statuses: Counter[int] = Counter()
        for each in self.callers:
            statuses += each.statuses
            each.close()
        return statuses


async def holds(world: Installation, process: Process, count: int = HELD) -> bool:
    """Return whether a process comes to hold so many requests."""

    async def asked() -> bool:
        metrics = (await world.http.get(f"{process.url}/metrics")).text
        return f'longshore_requests_held{{model="iris",version="1"}} {count}.0' in metrics

    for _ in range(200):
        if await asked():
            return True
        await asyncio.sleep(0.1)
    return False


async def noted(world: Installation, phase: str) -> Wake:
    """Return the only wake once the ledger has a phase of it, which it notes after the answers."""
    async with asyncio.timeout(20):
        while True:
            [wake] = await world.registry.wakes(IRIS)
            if getattr(wake, phase):
                return wake
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("moment", "asked"), [("slow", 2), ("booting", 1)])
async def test_held_requests_outlive_the_leader_that_wakes_their_version(
    world: Installation, moment: str, asked: int
) -> None:
    """It is killed while the container is being made, or while that starts."""
    hindered = world.directory / "shared" / moment
    hindered.write_text("600")
    first = await world.started("controller")
    assert await world.leader() is first
    second = await world.started("controller")
    router = await world.ready(world.process("router"))
    crowd = Crowd(router)
    await crowd.ask()
    assert await holds(world, router), router.log
    done = "apply" if moment == "slow" else "applied"
    assert await until(lambda: world.counted(f"{done} iris:1"), 20), first.log
    first.kill()
    hindered.unlink()
    if moment == "booting":
        hindered.touch()
    assert await world.leader(other_than=first) is second
    if moment == "booting":
        # The successor has what its predecessor began, and waits for it.
        await asyncio.sleep(3)
        hindered.unlink()
    assert await crowd.heard() == {200: HELD}, (router.log, second.log)
    assert crowd.answers == {b"[%d]" % number: 1 for number in range(HELD)}
    assert len(world.replica.requests) == HELD, "each once"
    assert world.counted("apply iris:1") == asked, world.calls
    assert world.counted("applied iris:1") == 1, "one start"
    assert world.counted("delete") == 0
    await noted(world, "ready_at")


async def test_a_killed_worker_loses_only_what_it_held(world: Installation) -> None:
    booting = world.directory / "shared" / "booting"
    booting.touch()
    up = await world.ready(world.process("up", "--workers", "2"))
    crowd = Crowd(up)
    await crowd.ask()
    assert await holds(world, up), up.log
    [doomed, _] = workers_of(up.pid)
    its = crowd.ports & clients_of(doomed)
    assert 0 < len(its) < HELD
    os.kill(doomed, signal.SIGKILL)
    assert await until(lambda: len(crowd.lost) == len(its), 20), up.log
    booting.unlink()
    assert await crowd.heard() == {200: HELD - len(its)}, up.log
    assert len(crowd.lost) == len(its)
    assert len(world.replica.requests) == HELD - len(its)
    assert world.counted("apply iris:1") == 1, world.calls
    assert await until(lambda: len(workers_of(up.pid)) == 2, 20), up.log
    wake = await noted(world, "first_byte_at")
    assert (wake.held, wake.lost) == (HELD, len(its))


async def test_a_router_tells_those_whom_it_refuses_how_long_a_wake_takes(
    world: Installation,
) -> None:
    now = utc_now()
    await world.registry.set_wish(IRIS, Wish.RUN, "test", at=now - timedelta(hours=1))
    [wake] = await world.registry.wakes(IRIS)
    took = {"ready_at": wake.asked_at + timedelta(seconds=300)}
    await world.registry.save_wakes([wake.model_copy(update=took)])
    await world.registry.set_wish(IRIS, Wish.SLEEP, "test")
    (world.directory / "shared" / "booting").touch()
    await world.started("controller")
    router = world.process("router")
    router.environment["LONGSHORE_HOLD_REQUESTS"] = "1"
    await world.ready(router)
    callers = [await Caller(int(router.url.rpartition(":")[2])).connect() for _ in range(2)]
    held = asyncio.create_task(callers[0].ask())
    assert await holds(world, router, 1)
    assert b"(hold_requests)" in await callers[1].ask()
    retry_after = callers[1].head.partition(b"retry-after: ")[2].partition(b"\r\n")[0]
    assert 200 < int(retry_after) <= 300
    held.cancel()
    for each in callers:
        each.close()
