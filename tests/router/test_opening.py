"""Connections to a replica are opened a few at a time, however many requests wait for one."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from parts.crewed import Caller
from parts.programs import program
from parts.replica import Replica
from parts.routed import model_route, route, routed, until

from longshore.core.types import State
from longshore.router.opening import AT_ONCE, Opening

SLOW_SERVER = Path(__file__).with_name("slow_server.py")


@dataclass(eq=False)
class Connection:
    """One to a replica, as far as those who wait for one look at it."""

    ended: bool = False


class Desk:
    """Opens connections when the test says so."""

    def __init__(self) -> None:
        self.attempts: list[asyncio.Future[Connection]] = []
        self.idle: list[Connection] = []
        self.overs = 0
        self.opening = Opening(self._connect, self.give, lambda each: each.ended, self._over)

    async def _connect(self) -> Connection:
        self.attempts.append(asyncio.get_running_loop().create_future())
        return await self.attempts[-1]

    def give(self, connection: Connection) -> None:
        if not self.opening.take(connection):
            self.idle.append(connection)

    def _over(self) -> None:
        self.overs += 1

    async def ask(self, count: int) -> list[asyncio.Task[Connection]]:
        asking = [asyncio.create_task(self.opening.connection()) for _ in range(count)]
        await settled()
        return asking


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_few_are_opened_at_a_time_and_handed_out_in_order() -> None:
    desk = Desk()
    asking = await desk.ask(AT_ONCE + 2)
    assert len(desk.attempts) == AT_ONCE
    made = Connection()
    desk.attempts[2].set_result(made)
    await settled()
    assert asking[0].result() is made
    assert len(desk.attempts) == AT_ONCE, "the replica has yet to take it"
    assert await until(lambda: len(desk.attempts) == AT_ONCE + 1)
    for each in desk.attempts:
        if not each.done():
            each.set_result(Connection())
    assert await until(lambda: len(desk.attempts) == AT_ONCE + 2)
    desk.attempts[-1].set_result(Connection())
    assert len({id(each) for each in await asyncio.gather(*asking)}) == AT_ONCE + 2
    assert await until(lambda: desk.overs)
    assert desk.idle == []


async def test_one_whose_request_was_answered_goes_to_whoever_waits() -> None:
    desk = Desk()
    asking = await desk.ask(AT_ONCE + 1)
    given = Connection()
    desk.give(given)
    assert await asking[0] is given
    for each in desk.attempts:
        each.set_result(Connection())
    await asyncio.gather(*asking)
    assert len(desk.attempts) == AT_ONCE


async def test_whoever_leaves_with_a_connection_gives_it_on() -> None:
    desk = Desk()
    first, second = await desk.ask(2)
    made = Connection()
    desk.give(made)
    first.cancel()
    assert await second is made
    desk.opening.close()
    await settled()
    assert desk.overs


async def test_one_that_ended_meanwhile_is_not_used() -> None:
    desk = Desk()
    [asking] = await desk.ask(1)
    ended, other = Connection(), Connection()
    desk.give(ended)
    ended.ended = True
    await settled()
    desk.give(other)
    assert await asking is other
    desk.opening.close()


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TimeoutError()])
async def test_a_replica_that_takes_none_fails_all_who_wait(error: Exception) -> None:
    desk = Desk()
    asking = await desk.ask(AT_ONCE + 3)
    desk.attempts[0].set_exception(error)
    assert await asyncio.gather(*asking, return_exceptions=True) == [error] * (AT_ONCE + 3)
    desk.opening.close()


async def test_a_replica_that_takes_others_is_only_busy() -> None:
    desk = Desk()
    asking = await desk.ask(2)
    desk.give(Connection())
    desk.attempts[0].set_exception(TimeoutError())
    desk.attempts[1].set_exception(TimeoutError())
    await settled()
    assert not asking[1].done()
    desk.attempts[2].set_result(Connection())
    await asyncio.gather(*asking)


@pytest.mark.timeout(100)
@pytest.mark.parametrize(
    "path",
    ["/v1/models/iris/predict", "/v1/models/iris/versions/1/raw/predict"],
    ids=["the lane", "the long way"],
)
async def test_what_was_held_does_not_overrun_a_server_that_is_slow_to_accept(
    state: Path, tmp_path: Path, path: str
) -> None:
    with program(tmp_path / "log", str(SLOW_SERVER)) as server:
        async with routed(state) as router:
            awake = route(Replica(port=server.port), limits={"concurrency": 2000})
            asleep = {"endpoints": (), "state": State.ASLEEP, "coming": True}
            await router.table.update(model_route(awake.model_copy(update=asleep)))
            callers = [await Caller(router.port).connect() for _ in range(800)]
            asking = [asyncio.create_task(each.ask(path)) for each in callers]
            assert await until(lambda: router.table.holding.requests == len(callers), 30)
            await router.table.update(model_route(awake))
            await asyncio.gather(*asking)
            assert [dict(each.statuses) for each in callers] == [{200: 1}] * len(callers)
            for each in callers:
                each.close()
