"""A controller for each test, whose passes are made when the test says so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pluggy
import pytest
from parts.controlled import Clock, World
from parts.memory_backend import MemoryBackend

from longshore.core import hookspecs
from longshore.core.controller import Controller
from longshore.core.hooks import Hooks
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.table import Table


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks, backend, clock = Hooks(manager), MemoryBackend(), Clock()
    elsewhere = MemoryBackend(name="elsewhere")
    backends = {each.name: each for each in (backend, elsewhere)}
    table = Table(hooks)

    def new_controller() -> Controller:
        return Controller(registry, backends, hooks, table, interval=3600, now=clock)

    yield World(registry, backend, elsewhere, table, hooks, new_controller(), clock, new_controller)
    await registry.close()
