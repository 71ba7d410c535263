"""A router on a free port for each test, on the event loop that ``longshore up`` uses."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from parts.routed import Routed, routed

from longshore.core.settings import Settings
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.lane.lane import Lane
from longshore.router.lane.protocol import LaneProtocol
from longshore.router.lane.wire import RequestHead


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with an empty database; making one anew takes longer than most tests."""
    state = tmp_path_factory.mktemp("empty")

    async def make() -> None:
        registry = SqlRegistry(Settings(state=state).database_url)
        await registry.open()
        await registry.close()

    asyncio.run(make())
    return state


@pytest.fixture
def state(tmp_path: Path, empty: Path) -> Path:
    """A state directory of the test's own."""
    return shutil.copytree(empty, tmp_path / "state")


@pytest.fixture
async def router(state: Path) -> AsyncIterator[Routed]:
    async with routed(state) as running:
        yield running


@pytest.fixture
async def small(state: Path) -> AsyncIterator[Routed]:
    """A router that takes bodies of up to 1,000 bytes."""
    async with routed(state, max_body=1000) as running:
        yield running


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Notes of each request that looked common whether the lane took it."""
    notes: list[bool] = []
    original = Lane.admit

    def admit(lane: Lane, head: RequestHead, client: LaneProtocol, size: int) -> object:
        exchange = original(lane, head, client, size)
        notes.append(exchange is not None)
        return exchange

    monkeypatch.setattr(Lane, "admit", admit)
    return notes  # type: ignore[return-value] # pytest takes a list as well
