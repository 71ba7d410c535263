"""Who leads, and that nobody acts who does not."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parts.routed import until

from longshore.core.errors import Unavailable
from longshore.core.leadership import LASTS, MARGIN, Leadership, Lookout
from longshore.core.lease import CONTROLLER, Lease
from longshore.plugins.sql_registry.registry import SqlRegistry


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[SqlRegistry]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    yield registry
    await registry.close()


async def test_the_first_leads_at_once_and_a_stop_hands_over_at_once(registry: SqlRegistry) -> None:
    first, second = Leadership(registry), Leadership(registry)
    told: list[tuple[str, bool]] = []
    first.listen(lambda: told.append(("first", first.leads)))
    second.listen(lambda: told.append(("second", second.leads)))
    first.announce("127.0.0.1:1")
    async with contextlib.AsyncExitStack() as seconds:
        async with first.running():
            await seconds.enter_async_context(second.running())
            assert (first.leads, second.leads) == (True, False)
            leader = second.leader()
            assert leader
            assert (leader.address, first.leader()) == ("127.0.0.1:1", None)
            assert leader.token.get_secret_value() == first.token
            assert second.token == ""
        assert not first.leads
        await first.release()
        assert await until(lambda: second.leads)
        assert second.epoch == 2
    assert told == [("first", True), ("first", False), ("second", True), ("second", False)]


async def test_a_leader_that_cannot_renew_stops_before_its_lease_ends(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    leadership = Leadership(registry, clock=clock)
    told: list[bool] = []
    leadership.listen(lambda: told.append(leadership.leads))
    async with leadership.running():

        async def away(*_: object, **__: object) -> Lease:
            raise Unavailable("the database is away")

        monkeypatch.setattr(registry, "take_lease", away)
        clock.time += LASTS - MARGIN - 0.01
        at_the_end = leadership.leads
        clock.time += 0.02
        # At this very moment, whether or not anything of this process has run since.
        assert (at_the_end, leadership.leads) == (True, False)
        assert leadership.token == ""
        assert not (await registry.lease(CONTROLLER)).free
        monkeypatch.undo()
        leadership.announce("127.0.0.1:1")
        assert await until(lambda: leadership.leads)
    assert told[-2:] == [True, False]
    assert leadership.epoch == 1, "nobody else led meanwhile"


async def test_an_answer_that_took_long_counts_from_when_it_was_asked_for(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    take = registry.take_lease

    async def slow(*given: str, **more: object) -> Lease:
        lease = await take(*given, **more)  # type: ignore[arg-type]
        clock.time += LASTS - MARGIN
        return lease

    monkeypatch.setattr(registry, "take_lease", slow)
    leadership = Leadership(registry, clock=clock)
    async with leadership.running():
        assert not leadership.leads


async def test_a_registry_with_a_bug_ends_nothing(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> Lease:
        raise KeyError("a bug")

    monkeypatch.setattr(registry, "take_lease", broken)
    leadership = Leadership(registry)
    async with leadership.running():
        assert not leadership.leads
        monkeypatch.undo()
        assert await until(lambda: leadership.leads)
    assert "KeyError: 'a bug'" in caplog.text


async def test_whoever_only_looks_sees_the_leader_also_while_sql_is_away(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookout = Lookout(registry)
    async with lookout.running():
        assert lookout.leader() is None
        leadership = Leadership(registry)
        leadership.announce("10.0.0.1:8000")
        async with leadership.running():
            assert await until(lookout.leader)
            asked = 0

            async def away(_: str) -> Lease:
                nonlocal asked
                asked += 1
                raise Unavailable("the database is away")

            monkeypatch.setattr(registry, "lease", away)
            assert await until(lambda: asked)
            leader = lookout.leader()
            assert leader
            assert leader.address == "10.0.0.1:8000"
