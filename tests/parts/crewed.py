"""A router with real worker processes, in front of replicas that a test scripts.

The parent is the test's own process; workers are started as ``longshore up --workers N`` does.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
from parts.memory_backend import MemoryBackend
from parts.replica import Behaviour, Replica, echo
from parts.routed import model_route, route, until

from longshore import compose
from longshore.core.collector import Collector
from longshore.core.controller import Controller
from longshore.core.loading import load
from longshore.core.platform import Platform
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.app import build_app
from longshore.router.table import Table
from longshore.router.workers.broadcast import Broadcast
from longshore.router.workers.counts import CONNECTIONS, Counts
from longshore.router.workers.crew import Crew, columns_for, serve_with_crew


@dataclass
class Crewed:
    """A router with workers that listens."""

    url: str
    port: int
    http: httpx.AsyncClient
    broadcast: Broadcast
    crew: Crew
    backend: MemoryBackend
    controller: Controller
    registry: SqlRegistry
    _stack: contextlib.AsyncExitStack

    async def serving(
        self, *behaviours: Behaviour, limits: Mapping[str, float] | None = None
    ) -> list[Replica]:
        """Start replicas, route version 1 of iris to them, and wait until all workers know."""
        replicas = [
            await self._stack.enter_async_context(Replica(behave).running())
            for behave in behaviours or (echo,)
        ]
        await self.broadcast.update(model_route(route(*replicas, limits=limits)))
        await self.told()
        return replicas

    async def told(self) -> None:
        """Wait until all workers know the table."""
        assert await self.broadcast.drain((), 10)

    def connections(self) -> list[int]:
        """Return how many clients each worker is connected to."""
        return [each for each in self.broadcast.counts.row(CONNECTIONS) if each >= 0]

    async def callers(self, count: int) -> "list[Caller]":
        """Connect so many clients at once."""
        callers = [Caller(self.port) for _ in range(count)]
        await asyncio.gather(*(each.connect() for each in callers))
        for each in callers:
            self._stack.callback(each.close)
        return callers


@contextlib.asynccontextmanager
async def crewed(state: Path, workers: int = 2, **options: object) -> AsyncIterator[Crewed]:
    """Run a router with workers over an empty platform."""
    config = state / "plugins.toml"
    config.touch()
    chosen = {"state": state, "workers": workers, "grace": 5, **options}
    settings, plugins = load(config, os.environ, chosen)
    counts, memory = Counts.create(columns_for(workers))
    table = Table(plugins.hooks)
    broadcast = Broadcast(table, counts)
    command = compose.Sources(config, chosen).worker
    crew = Crew(workers, broadcast, memory, command, settings.grace)
    backend = MemoryBackend()
    backends = {"engine": backend}
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(os.close, memory)
        registry = SqlRegistry(settings.database_url)
        stack.push_async_callback(registry.close)
        await registry.open()
        controller = Controller(registry, backends, plugins.hooks, broadcast, interval=1)
        table.on_held = controller.wake
        collector = Collector(
            settings, registry, backends, plugins.hooks, broadcast, kick=controller.kick
        )
        platform = Platform(
            settings, plugins.hooks, registry, backends, controller, collector=collector
        )
        app = build_app(platform, table)
        # Replicas and clients end before the workers do.
        serving = serve_with_crew(app, crew, "127.0.0.1", 0, state)
        address = await stack.enter_async_context(serving)
        url = f"http://{address}"
        http = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
        await stack.enter_async_context(http)
        async with contextlib.AsyncExitStack() as tests_own:
            yield Crewed(
                url,
                address.port,
                http,
                broadcast,
                crew,
                backend,
                controller,
                registry,
                tests_own,
            )


class Lost(Exception):
    """A request was sent, and no whole answer came."""


@dataclass
class Caller:
    """A client that keeps its connection as long as it is told that it may."""

    port: int
    asked: int = 0
    statuses: "Counter[int]" = field(default_factory=Counter)
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    head: bytes = b""
    """Of the last answer."""

    async def connect(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def ask(self, path: str = "/v1/models/iris/predict", body: bytes = b"[1]") -> bytes:
        """POST, and return the answer's body.

        Raises:
            Lost: there is no whole answer.
        """
        if self.reader is None or self.reader.at_eof():
            # Nothing was sent, so that nothing is lost.
            self.close()
            await self.connect()
        assert self.reader
        assert self.writer
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        self.asked += 1
        try:
            self.writer.write(head.encode() + body)
            self.head = await self.reader.readuntil(b"\r\n\r\n")
            length = self.head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            answer = await self.reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(repr(error)) from error
        self.statuses[int(self.head.split()[1])] += 1
        if b"connection: close" in self.head.lower():
            self.close()
        return answer

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


def lives(pid: int) -> bool:
    """Return whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


async def gone(pid: int, within: float = 10) -> bool:
    """Return whether a process ended in time."""
    return await until(lambda: not lives(pid), within)
