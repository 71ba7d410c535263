"""The logs of several containers are read as one, from what they wrote to what they write."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from longshore.core.backends import logs
from longshore.core.backends.hints import Hints
from longshore.core.backends.lines import Line
from longshore.core.backends.logs import Containers, log_of
from longshore.core.errors import NotFound, Unavailable
from longshore.core.names import VersionKey

IRIS = VersionKey("iris", "1")


@dataclass
class World:
    """Containers that wrote something, and write."""

    past: dict[str, list[Line]] = field(default_factory=dict)
    writing: dict[str, "asyncio.Queue[Line | Exception | None]"] = field(default_factory=dict)
    followed: list[str] = field(default_factory=list)
    hints: Hints = field(default_factory=Hints)
    away: bool = False

    def start(self, name: str, *past: Line) -> "asyncio.Queue[Line | Exception | None]":
        self.past[name] = list(past)
        self.writing[name] = asyncio.Queue()
        return self.writing[name]

    async def present(self) -> list[str]:
        if self.away:
            raise Unavailable("the engine is away")
        return list(self.past)

    async def wrote(self, name: str, until: float) -> list[Line]:
        return self.past[name]

    async def writes(self, name: str, since: float) -> AsyncIterator[Line]:
        self.followed.append(name)
        while (line := await self.writing[name].get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield line

    def log(self, *, follow: bool = False) -> "aclosing[AsyncGenerator[str, None]]":
        containers = Containers(self.present, self.wrote, self.writes)
        return aclosing(log_of(IRIS, containers, self.hints, follow=follow))


async def taken(lines: AsyncIterator[str], count: int) -> list[str]:
    async with asyncio.timeout(5):
        return [await anext(lines) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a fake tells nobody
            await asyncio.sleep(0.001)


async def test_what_several_wrote_comes_in_the_order_of_time() -> None:
    world = World()
    world.start("a", Line("01", "one"), Line("04", "four"))
    world.start("b", Line("02", "two"), Line("03", "three"))
    async with world.log() as lines:
        assert [line async for line in lines] == ["one", "two", "three", "four"]
    assert world.followed == []


async def test_where_there_is_no_container_it_says_so() -> None:
    async with World().log() as lines:
        with pytest.raises(NotFound, match="iris:1 has no replica, running or exited"):
            await anext(lines)


async def test_an_engine_that_is_away_at_first_is_an_error() -> None:
    async with World(away=True).log(follow=True) as lines:
        with pytest.raises(Unavailable, match="away"):
            await anext(lines)


async def test_what_is_written_follows_and_so_do_new_containers() -> None:
    world = World()
    first = world.start("a", Line("01", "past"))
    async with world.log(follow=True) as lines:
        first.put_nowait(Line("02", "present"))
        assert await taken(lines, 2) == ["past", "present"]
        world.start("b").put_nowait(Line("03", "of another"))
        world.hints.tell()
        assert await taken(lines, 1) == ["of another"]
        # Both are read, and neither twice.
        first.put_nowait(Line("04", "of the first"))
        world.hints.tell()
        assert await taken(lines, 1) == ["of the first"]
    assert world.followed == ["a", "b"]


async def test_it_ends_with_the_hints() -> None:
    world = World()
    world.start("a", Line("01", "past"))
    async with world.log(follow=True) as lines:
        assert await taken(lines, 1) == ["past"]
        world.hints.close()
        async with asyncio.timeout(5):
            assert [line async for line in lines] == []


async def test_an_engine_that_goes_away_meanwhile_is_waited_for() -> None:
    world = World()
    first = world.start("a", Line("01", "past"))
    async with world.log(follow=True) as lines:
        first.put_nowait(Line("02", "present"))
        assert await taken(lines, 2) == ["past", "present"]
        world.away = True
        world.hints.tell()
        await asyncio.sleep(0.01)
        world.away = False
        world.start("b").put_nowait(Line("03", "later"))
        world.hints.tell()
        assert await taken(lines, 1) == ["later"]


async def test_a_log_that_breaks_off_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_AGAIN", 0.001)
    world = World()
    first = world.start("a", Line("01", "past"))
    async with world.log(follow=True) as lines:
        first.put_nowait(Unavailable("the engine is away"))
        first.put_nowait(Line("02", "later"))
        assert await taken(lines, 2) == ["past", "later"]
    assert world.followed == ["a", "a"]


async def test_whoever_stops_listening_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    world = World()
    world.start("a", Line("01", "past")).put_nowait(Line("02", "present"))
    async with world.log(follow=True) as lines:
        await taken(lines, 2)
        assert asyncio.all_tasks() > before
    await until(lambda: asyncio.all_tasks() == before)
