"""Longshore's router with a filled table: no database is opened, and no engine is asked.

It speaks with the benchmark on its standard streams, in lines. ``churn SECONDS RATE`` lets an
endpoint of the first model appear and disappear RATE times a second, and is answered with the
seconds that each update took, as JSON; ``shares`` with how many requests each worker answered. It
ends when its standard input does.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pluggy
import uvloop

from longshore.compose import Sources
from longshore.core import hookspecs
from longshore.core.collector import Collector
from longshore.core.controller import Controller
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.platform import Platform
from longshore.core.routes import ModelRoute, RouteTable, VersionRoute
from longshore.core.settings import Settings
from longshore.core.types import (
    Address,
    Confidence,
    Endpoint,
    HardwarePlan,
    Image,
    Limits,
    Placement,
    Serving,
    State,
    TrafficRule,
    Version,
    VersionSpec,
    utc_now,
)
from longshore.parts import settle
from longshore.plugins import balancing, contracts
from longshore.plugins.sql_registry.registry import SqlRegistry
from longshore.router.app import build_app
from longshore.router.server import serve
from longshore.router.table import Table
from longshore.router.workers.broadcast import Broadcast
from longshore.router.workers.counts import Counts
from longshore.router.workers.crew import Crew, columns_for, serve_with_crew
from longshore.router.workers.worker import REPORT_EVERY

IMAGE = Image(reference="bench:1", repository="localhost/bench", digest="sha256:" + "a" * 64)
PLAN = Placement(backend="none", nodes=(), plan=HardwarePlan())
SPEC = VersionSpec(image=IMAGE.reference, limits=Limits(concurrency=100_000, total=3600))


def version(name: str, number: str, predict_path: str) -> Version:
    """Return a version as registration would have stored it."""
    serving = Serving(
        contract="generic",
        port=8080,
        health_path="/health",
        health_required=False,
        predict_path=predict_path,
        why="a benchmark",
        confidence=Confidence.EXACT,
    )
    return Version(
        key=VersionKey(name, number),
        spec=SPEC,
        image=IMAGE,
        serving=serving,
        placement=PLAN,
        created_at=utc_now(),
    )


def route(version: Version, *addresses: Address) -> VersionRoute:
    """Return the route of a version; it sleeps where it has no address."""
    endpoints = tuple(
        Endpoint(replica=f"{version.key}-{number}", address=address)
        for number, address in enumerate(addresses)
    )
    return VersionRoute(
        version=version, endpoints=endpoints, state=State.READY if endpoints else State.ASLEEP
    )


def model(*versions: VersionRoute) -> ModelRoute:
    """Return the routes of a model."""
    return ModelRoute(name=versions[0].version.key.name, traffic=TrafficRule(), versions=versions)


def called(calls: Iterable[str], port: int) -> Iterator[ModelRoute]:
    """Yield one model for each of the backend's calls."""
    for call in calls:
        one = version(call.replace("/", "-"), "1", f"/{call}")
        yield model(route(one, Address(host="127.0.0.1", port=port)))


def crowd(models: int, versions: int, port: int) -> Iterator[ModelRoute]:
    """Yield models whose version 0 runs at an address of its own, and whose others sleep."""
    for number in range(models):
        block, position = divmod(number, 250)
        address = Address(host=f"127.0.{block}.{position + 1}", port=port)
        each = [version(f"crowd-{number}", str(one), "/predict") for one in range(versions)]
        yield model(route(each[0], address), *map(route, each[1:]))


async def churn(table: RouteTable, first: ModelRoute, seconds: float, rate: float) -> list[float]:
    """Let a second endpoint of a version appear and disappear; return the seconds of each time."""
    alone, *others = first.versions
    address = alone.endpoints[0].address
    both = alone.model_copy(update={"endpoints": route(alone.version, address, address).endpoints})
    steps = [first.model_copy(update={"versions": (each, *others)}) for each in (both, alone)]
    durations = []
    for turn in range(int(seconds * rate / 2) * 2):
        began = time.monotonic()
        await table.update(steps[turn % 2])
        durations.append(time.monotonic() - began)
        await asyncio.sleep(1 / rate)
    return durations


async def run(options: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    settings = Settings(state=Path("router-state"), workers=options.workers, grace=1)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for plugin in (balancing, contracts):
        manager.register(plugin)
    hooks = Hooks(manager)
    table = Table(hooks)
    counts, memory = Counts.create(columns_for(options.workers))
    broadcast = Broadcast(table, counts)
    told: RouteTable = broadcast if options.workers > 1 else table
    registry = SqlRegistry(settings.database_url)
    controller = Controller(registry, {}, hooks, told, interval=60)
    collector = Collector(settings, registry, {}, hooks, told, kick=controller.kick)
    platform = Platform(settings, hooks, registry, {}, controller, collector=collector)
    routes = [
        *crowd(options.models, options.versions, options.backend),
        *called(options.calls, options.backend),
    ]
    for each in routes:
        await told.update(each)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    app = build_app(platform, table)
    if options.workers > 1:
        settings.state.mkdir(exist_ok=True)
        command = Sources(options={"state": settings.state, "grace": settings.grace}).worker
        crew = Crew(options.workers, broadcast, memory, command, settings.grace)
        serving = serve_with_crew(app, crew, "127.0.0.1", options.port, settings.state)
    else:
        serving = serve(app, "127.0.0.1", options.port, grace=settings.grace)
    settle()
    async with serving:
        while line := await lines.readline():
            if line.strip() == b"shares":
                # What workers counted comes to the parent at these intervals.
                await asyncio.sleep(2 * REPORT_EVERY)
                answer: object = broadcast.answered()
            else:
                seconds, rate = map(float, line.split()[1:])
                answer = await churn(told, routes[0], seconds, rate)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("backend", type=int, help="the backend's port")
    parser.add_argument("--calls", nargs="+", default=["predict"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models", type=int, default=0)
    parser.add_argument("--versions", type=int, default=0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(parser.parse_args()))
