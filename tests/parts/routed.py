"""The router's real application on a real port, in front of replicas that a test scripts.

The platform behind it is the real one on a real SQLite file; only what would need a container
engine and an image registry is replaced: the backend, and the plugin that finds images.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import pluggy
from examples_of import image, version
from parts.memory_backend import MemoryBackend
from parts.replica import Behaviour, Replica, echo

from longshore.core import hookspecs
from longshore.core.collector import Collector
from longshore.core.controller import Controller
from longshore.core.errors import InvalidInput
from longshore.core.hooks import Hooks
from longshore.core.hookspecs import hookimpl
from longshore.core.platform import Platform
from longshore.core.routes import ModelRoute, VersionRoute
from longshore.core.settings import Settings
from longshore.core.types import HardwarePlan, Image, State, TrafficRule, Verdict, VersionSpec
from longshore.plugins import balancing, contracts
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.app import build_app
from longshore.router.holding import HoldLimits
from longshore.router.server import serve
from longshore.router.table import Table


class Images:
    """Stands in for the plugins that look into image registries and at hardware."""

    @hookimpl
    def longshore_resolve_image(self, reference: str) -> Image:
        """Know every image but those that are called missing."""
        if "missing" in reference:
            raise InvalidInput(f"there is no image {reference!r}", pointer="/image")
        return image("b" if "other" in reference else "a")

    @hookimpl
    def longshore_plan_hardware(self, version: VersionSpec) -> HardwarePlan:
        """Any hardware will do, but for images that are called large."""
        outcome: Literal["pass", "fail"] = "fail" if "large" in version.image else "pass"
        verdict = Verdict(rule="size", outcome=outcome, evidence="by its name", hint="Rename it.")
        return HardwarePlan(verdicts=(verdict,))


def hooks_of(*plugins: object) -> Hooks:
    """Return hooks that ask these plugins, in order."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for number, plugin in reversed(list(enumerate(plugins))):
        manager.register(plugin, name=getattr(plugin, "name", f"plugin-{number}"))
    return Hooks(manager)


def route(
    *replicas: Replica,
    name: str = "iris",
    number: str = "1",
    state: State = State.READY,
    reason: str = "",
    hint: str = "",
    limits: Mapping[str, float] | None = None,
) -> VersionRoute:
    """Return the route of a version to these replicas."""
    return VersionRoute(
        version=version(name, number, limits=limits or {}),
        endpoints=tuple(each.endpoint for each in replicas),
        state=state,
        reason=reason,
        hint=hint,
    )


def model_route(
    *versions: VersionRoute, rule: TrafficRule | None = None, **weights: int
) -> ModelRoute:
    """Return the route of a model; weights are named ``v1`` for version 1."""
    if rule is None:
        rule = TrafficRule(weights={name.removeprefix("v"): each for name, each in weights.items()})
    return ModelRoute(name=versions[0].version.key.name, traffic=rule, versions=versions)


@dataclass
class Routed:
    """A router that listens."""

    url: str
    port: int
    http: httpx.AsyncClient
    table: Table
    platform: Platform
    controller: Controller
    backend: MemoryBackend
    registry: SqlRegistry
    _stack: contextlib.AsyncExitStack

    async def replica(self, behave: Behaviour = echo) -> Replica:
        """Start a replica; it ends with the test."""
        return await self._stack.enter_async_context(Replica(behave).running())

    async def serving(
        self, behave: Behaviour = echo, limits: Mapping[str, float] | None = None
    ) -> Replica:
        """Start a replica and route version 1 of iris to it."""
        replica = await self.replica(behave)
        await self.table.update(model_route(route(replica, limits=limits)))
        return replica

    async def predict(self, body: bytes = b"[1]", name: str = "iris") -> httpx.Response:
        """Ask a model."""
        return await self.http.post(f"/v1/models/{name}/predict", content=body)

    async def raw(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send bytes as they are, and give the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._stack.callback(writer.close)
        writer.write(request)
        await writer.drain()
        return reader, writer


@contextlib.asynccontextmanager
async def routed(state: Path, *plugins: object, **settings: object) -> AsyncIterator[Routed]:
    """Run a router over an empty platform."""
    chosen = Settings.model_validate({"state": state, "database": None, **settings})
    hooks = hooks_of(*plugins, Images(), contracts, balancing)
    port = chosen.port if "port" in settings else 0
    table = Table(hooks, hold=HoldLimits.of(chosen))
    backend = MemoryBackend()
    async with contextlib.AsyncExitStack() as stack:
        registry = SqlRegistry(chosen.database_url)
        stack.push_async_callback(registry.close)
        await registry.open()
        backends = {"engine": backend}
        controller = Controller(registry, backends, hooks, table, interval=1)
        table.on_held = controller.wake
        collector = Collector(chosen, registry, backends, hooks, table, kick=controller.kick)
        platform = Platform(chosen, hooks, registry, backends, controller, collector=collector)
        app = build_app(platform, table)
        address = await stack.enter_async_context(serve(app, "127.0.0.1", port, grace=2))
        url = f"http://{address}"
        http = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
        await stack.enter_async_context(http)
        yield Routed(url, address.port, http, table, platform, controller, backend, registry, stack)


async def until(condition: Callable[[], object], within: float = 5) -> bool:
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.005)
    return False
