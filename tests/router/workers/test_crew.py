"""Worker processes: they share connections and counts, and come and go without anybody's loss."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from parts.crewed import Caller, Crewed, Lost, crewed, gone, lives
from parts.replica import Exchange, Replica, echo
from parts.routed import model_route, route, until

from longshore.compose import Sources
from longshore.core.errors import StartRefused
from longshore.core.names import VersionKey
from longshore.core.types import State
from longshore.router.workers import process
from longshore.router.workers.counts import CONNECTIONS

FIRST_ROW = CONNECTIONS + 1
"""Where the replica that came first is counted."""


async def test_clients_that_come_at_once_are_shared(router: Crewed) -> None:
    await router.serving()
    callers = await router.callers(64)
    # Each has been accepted once it has an answer.
    answers = await asyncio.gather(*(each.ask(body=b"x") for each in callers))
    assert answers == [b"x"] * 64
    assert await until(lambda: sum(router.connections()) == 64)
    assert min(router.connections()) >= 16, router.connections()


async def test_replicas_get_their_fair_share_and_no_more_than_their_limit(router: Crewed) -> None:
    limit, workers = 4, 2
    most: Counter[int] = Counter()
    now: Counter[int] = Counter()

    async def slow(exchange: Exchange) -> None:
        port = exchange.writer.get_extra_info("sockname")[1]
        body = await exchange.read_body()
        now[port] += 1
        most[port] = max(most[port], now[port])
        await asyncio.sleep(random.uniform(0.002, 0.02))  # noqa: S311 - no secret
        now[port] -= 1
        await exchange.answer(body)

    replicas = await router.serving(slow, slow, slow, slow, limits={"concurrency": limit})
    callers = await router.callers(32)

    async def ask(caller: Caller) -> None:
        for _ in range(50):
            await caller.ask()

    await asyncio.gather(*map(ask, callers))
    statuses: Counter[int] = Counter()
    for each in callers:
        statuses += each.statuses
    assert set(statuses) <= {200, 503}
    fair = statuses[200] / 4
    served = [len(each.requests) for each in replicas]
    assert all(abs(each - fair) <= 0.2 * fair for each in served), served
    # A worker looks and counts in one go; each of the others may do so at the same moment.
    assert max(most.values()) <= limit + workers - 1, most
    assert min(most.values()) >= limit - 1, most


async def test_a_replica_that_another_worker_filled_is_busy(router: Crewed) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.read_body()
        await go.wait()
        await exchange.answer(b"")

    [replica] = await router.serving(waits, limits={"concurrency": 1})
    callers = await router.callers(8)
    assert await until(lambda: min(router.connections()) > 0)
    first = asyncio.create_task(callers[0].ask())
    assert await until(lambda: replica.requests)
    for each in callers[1:]:
        assert b"which is their limit" in await each.ask()
    assert len(replica.requests) == 1
    go.set()
    assert await first == b""


async def test_a_change_of_the_table_reaches_all_workers(router: Crewed) -> None:
    await router.serving()
    callers = await router.callers(8)
    loop = asyncio.get_running_loop()
    slowest = 0.0
    for turn in range(20):
        began = loop.time()
        if turn % 2:
            await router.broadcast.remove("iris")
        else:
            failed = route(state=State.FAILED, reason=f"{turn}")
            await router.broadcast.update(model_route(failed))
        await router.told()
        slowest = max(slowest, loop.time() - began)
        await asyncio.gather(*(each.ask() for each in callers))
        statuses = {int(each.head.split()[1]) for each in callers}
        assert statuses == ({404} if turn % 2 else {503}), turn
    print(f"slowest update: {slowest * 1000:.1f} ms")
    assert slowest < 1


async def test_loads_and_metrics_are_those_of_all(router: Crewed) -> None:
    await router.serving()
    callers = await router.callers(8)
    await asyncio.gather(*(each.ask() for each in callers * 1))
    key = VersionKey("iris", "1")
    assert await until(lambda: sum(router.broadcast.answered().values()) == 8)
    assert all(router.broadcast.answered().values()), "both had some"
    assert router.broadcast.load(key).rate == 8 / 60
    for _ in range(4):
        async with router.http.stream("GET", "/metrics") as answer:
            text = (await answer.aread()).decode()
        assert 'longshore_requests_total{model="iris",status="2xx",version="1"} 8.0' in text


async def test_a_drain_waits_for_requests_on_any_worker(router: Crewed) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.read_body()
        await go.wait()
        await exchange.answer(b"")

    [replica] = await router.serving(waits)
    callers = await router.callers(2)
    asking = [asyncio.create_task(each.ask()) for each in callers]
    assert await until(lambda: len(replica.requests) == 2)
    await router.broadcast.remove("iris")
    assert not await router.broadcast.drain([replica.id], 0.3)
    go.set()
    assert await router.broadcast.drain([replica.id], 10)
    assert await asyncio.gather(*asking) == [b"", b""]


class Load:
    """Clients that ask one after the other, and count what they lose."""

    def __init__(self, callers: list[Caller]) -> None:
        self.lost: list[Lost] = []
        self._stopping = False
        self.callers = callers
        self._tasks = [asyncio.create_task(self._ask(each)) for each in callers]

    @property
    def answered(self) -> int:
        return sum(each.statuses[200] for each in self.callers)

    async def more(self, count: int) -> None:
        """Wait until so many more were answered."""
        goal = self.answered + count
        assert await until(lambda: self.answered >= goal, 60)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _ask(self, caller: Caller) -> None:
        while not self._stopping:
            try:
                await caller.ask()
            except Lost as lost:
                self.lost.append(lost)
            await asyncio.sleep(random.uniform(0, 0.01))  # noqa: S311 - no secret


async def replaced(router: Crewed, number: int, pid: int) -> None:
    """Wait until another process is that worker, and all are there."""
    assert await until(
        lambda: router.crew.pids.get(number, pid) != pid and len(router.crew.pids) == 2, 30
    )


async def test_a_worker_that_is_asked_to_stop_is_replaced_without_loss(router: Crewed) -> None:
    await router.serving(echo, echo)
    load = Load(await router.callers(16))
    await load.more(200)
    for number in (1, 2, 1):
        pid = router.crew.pids[number]
        os.kill(pid, signal.SIGTERM)
        await replaced(router, number, pid)
        assert await gone(pid)
        await load.more(200)
    await load.stop()
    assert load.lost == []
    statuses: Counter[int] = Counter()
    for each in load.callers:
        statuses += each.statuses
    assert set(statuses) == {200}
    # What the workers that are gone had answered still counts.
    [version] = router.broadcast.table.versions()
    assert await until(lambda: version.meter.answers["2xx"] == statuses[200]), version.meter.answers


async def test_a_killed_worker_loses_only_what_it_carried_and_comes_back(router: Crewed) -> None:
    await router.serving()
    callers = await router.callers(16)
    load = Load(callers)
    await load.more(200)
    pid = router.crew.pids[1]
    carried = max(router.connections()) + 1
    os.kill(pid, signal.SIGKILL)
    await replaced(router, 1, pid)
    await load.more(200)
    await load.stop()
    assert len(load.lost) <= carried
    assert {status for each in callers for status in each.statuses} == {200}


async def test_what_a_killed_worker_had_in_flight_is_forgotten(router: Crewed) -> None:
    hold = True

    async def waits(exchange: Exchange) -> None:
        await exchange.read_body()
        if hold:
            await exchange.until_left()
        else:
            await exchange.answer(b"free again")

    [replica] = await router.serving(waits, limits={"concurrency": 4})
    callers = await router.callers(4)
    asking = [asyncio.create_task(each.ask()) for each in callers]
    assert await until(lambda: len(replica.requests) == 4)
    assert router.broadcast.counts.total(FIRST_ROW) == 4
    hold = False
    pids = dict(router.crew.pids)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    assert await until(lambda: not router.crew.pids)
    assert router.broadcast.counts.total(FIRST_ROW) == 0
    for number, pid in pids.items():
        await replaced(router, number, pid)
    lost = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in lost] == [Lost] * 4
    assert await router.broadcast.drain([replica.id], 10)
    [caller] = await router.callers(1)
    assert await caller.ask() == b"free again"


async def test_whom_a_worker_turns_away_the_parent_hears_of(state: Path) -> None:
    async with crewed(state, hold_requests=0) as router:
        asked: list[VersionKey] = []
        router.broadcast.table.on_held = asked.append
        sleeping = route(state=State.ASLEEP).model_copy(update={"coming": True})
        await router.broadcast.update(model_route(sleeping))
        await router.told()
        answer = await router.http.post("/v1/models/iris/predict", content=b"x")
        assert answer.status_code == 503
        assert "hold_requests" in answer.json()["detail"]
        assert await until(lambda: asked == [VersionKey("iris", "1")])
        load = router.broadcast.load(VersionKey("iris", "1"))
        assert (load.held, load.turned_away_at is not None) == (0, True)


async def test_a_stopping_worker_finishes_what_runs_and_accepts_no_more(state: Path) -> None:
    # Longer than new workers take to start on a busy machine.
    async with crewed(state, grace=60) as router:
        go = asyncio.Event()

        async def waits(exchange: Exchange) -> None:
            await exchange.read_body()
            await go.wait()
            await exchange.answer(b"finished")

        [replica] = await router.serving(waits)
        callers = await router.callers(8)
        asking = [asyncio.create_task(each.ask()) for each in callers]
        assert await until(lambda: len(replica.requests) == 8)
        before = router.crew.pids
        for pid in before.values():
            os.kill(pid, signal.SIGTERM)
        for number, pid in before.items():
            await replaced(router, number, pid)
        # The new ones serve while the old ones wait for their last answers.
        assert all(map(lives, before.values()))
        later = await router.callers(4)
        asking += [asyncio.create_task(each.ask()) for each in later]
        assert await until(lambda: len(replica.requests) == 12)
        go.set()
        assert await asyncio.gather(*asking) == [b"finished"] * 12
        assert all(b"connection: close" in each.head.lower() for each in callers)
        assert not any(b"connection: close" in each.head.lower() for each in later)
        for pid in before.values():
            assert await gone(pid)


async def test_requests_that_do_not_finish_are_cut_off_after_the_grace(state: Path) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.until_left()

    async with crewed(state, grace=1) as router:
        [replica] = await router.serving(never)
        [caller] = await router.callers(1)
        asking = asyncio.create_task(caller.ask())
        assert await until(lambda: replica.requests)
        pids = dict(router.crew.pids)
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
        with pytest.raises(Lost):
            await asyncio.wait_for(asking, 10)
        for pid in pids.values():
            assert await gone(pid)
        assert await until(lambda: not replica.open)


@pytest.mark.parametrize("path", ["/v1/models/iris/predict", "/v1/models/iris/versions/1/raw/x"])
async def test_an_idle_client_may_still_ask_for_a_moment(router: Crewed, path: str) -> None:
    await router.serving()
    talks, silent = await router.callers(2)
    for each in (talks, silent):
        await each.ask(path)
    for pid in router.crew.pids.values():
        os.kill(pid, signal.SIGTERM)
    assert await until(lambda: router.connections() == [])
    # It goes on asking until it is told to connect anew, and finds its connection open till then.
    connection = talks.reader
    assert connection
    while talks.reader is connection:
        assert not connection.at_eof()
        await talks.ask(path)
        await asyncio.sleep(0.02)
    assert b"connection: close" in talks.head.lower()
    assert silent.reader
    assert await asyncio.wait_for(silent.reader.read(), 10) == b""


async def test_a_worker_that_is_stuck_is_replaced(
    router: Crewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SILENCE", 2)
    await router.serving()
    pid = router.crew.pids[2]
    os.kill(pid, signal.SIGSTOP)
    # Nobody waits for it meanwhile, and telling it costs nothing.
    for number in range(300):
        await router.broadcast.update(model_route(route(Replica(), reason=f"{number}" * 100)))
    await replaced(router, 2, pid)
    assert await gone(pid)
    await router.told()


async def test_one_that_cannot_follow_the_table_is_replaced_after_a_pause(
    router: Crewed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await router.serving()
    pids = dict(router.crew.pids)
    nonsense = router.broadcast.line
    monkeypatch.setattr(router.broadcast, "line", lambda _: b"nonsense\n")
    await router.broadcast.update(model_route(route(Replica())))
    for pid in pids.values():
        assert await gone(pid)
    monkeypatch.setattr(router.broadcast, "line", nonsense)
    for number, pid in pids.items():
        await replaced(router, number, pid)
    assert "ended with status 1; it is started again in 0.5 s" in caplog.text


async def test_one_that_cannot_start_stops_the_start(
    state: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [sys.executable, "-c", "raise SystemExit('no luck today')"]
    monkeypatch.setattr(Sources, "worker", lambda _sources, _assignment: broken)
    with pytest.raises(StartRefused, match="ended with status 1 before it could serve") as caught:
        async with crewed(state):
            pass
    assert "--workers 1" in caught.value.hint
    assert "no luck today" in capfd.readouterr().err


async def test_all_end_with_the_parent(state: Path) -> None:
    async with crewed(state, workers=3) as router:
        await router.serving()
        pids = list(router.crew.pids.values())
        assert len(pids) == 3
    for pid in pids:
        assert await gone(pid)
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", router.port)
    assert not (state / "parent.sock").exists()
