"""A backend on a real engine, and the image whose behaviour its environment sets."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from engine_cli import EngineCli
from parts.backends import LOGIN, pinned
from parts.engine_backend import Backends
from parts.images import logged_in, push_image

from longshore.core.errors import StartRefused
from longshore.core.settings import Settings
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.connect import connect


@pytest.fixture(scope="session")
def engine_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of an engine; Podman's service is started once where nothing listens."""
    with asyncio.Runner() as runner:
        state = tmp_path_factory.mktemp("engine")
        try:
            connection = runner.run(connect(None, state, os.environ))
        except StartRefused as refused:
            pytest.skip(refused.message)
        yield connection.client.socket
        runner.run(connection.close())


@pytest.fixture
def engine_settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "state")


@pytest_asyncio.fixture
async def backends(engine_settings: Settings, engine_socket: Path) -> AsyncIterator[Backends]:
    async with AsyncExitStack() as stack:
        yield Backends(engine_settings, engine_socket, stack)


@pytest_asyncio.fixture
async def backend(backends: Backends) -> EngineBackend:
    return await backends.open()


@pytest.fixture(scope="session")
def private_image(engine_cli: EngineCli, private_registry: str) -> str:
    """An image in the registry that asks for a login, by its digest."""
    with logged_in(engine_cli, private_registry, LOGIN):
        return pinned(push_image("behave", private_registry), LOGIN)
