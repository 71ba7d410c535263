"""The one place where the rooms meet: plugins, registry, backends, controller and router.

Everything else knows only core; here they are put together, opened in order, and closed in the
reverse order.
"""

import logging
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from longshore.core.collector import Collector
from longshore.core.controller import Controller
from longshore.core.errors import StartRefused
from longshore.core.following import Following, Source
from longshore.core.front import Front
from longshore.core.hooks import Hooks
from longshore.core.leadership import Leadership, Lookout
from longshore.core.learner import Learner
from longshore.core.names import VersionKey
from longshore.core.nodes import profile_node
from longshore.core.platform import Platform
from longshore.core.plugins import Plugins
from longshore.core.protocols import (
    ActsByItself,
    Backend,
    ReadsEndpoints,
    ReadsLoads,
    ReadsNodes,
    Registry,
)
from longshore.core.publishing import Publisher
from longshore.core.registration import by_name
from longshore.core.reports import Reports
from longshore.core.settings import Settings
from longshore.core.types import Address, Node, NodeProfile
from longshore.parts import (
    Leaving,
    advertised,
    backends_of,
    exclusive,
    registry_of,
    settle,
    table_of,
)
from longshore.router.app import build_app, build_router_app
from longshore.router.internal import Colleagues
from longshore.router.openapi import DocumentedApp
from longshore.router.reporting import Reporter
from longshore.router.server import serve
from longshore.router.workers.crew import Crew, serve_with_crew
from longshore.router.workers.messages import Assignment


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings and plugins came from, so that workers load the same."""

    config: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    def worker(self, assignment: Assignment) -> Sequence[str]:
        """Return the command that starts a router worker."""
        options = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in self.options.items()
            if value is not None
        }
        given = assignment.model_copy(update={"config": self.config, "options": options})
        # As the installed program is run: the current directory is no place to import from.
        return [sys.executable, "-P", "-m", "longshore.worker", given.model_dump_json()]


@dataclass(frozen=True, slots=True)
class Running:
    """A platform that runs."""

    url: str
    backends: Mapping[str, Backend]


def front(settings: Settings, plugins: Plugins) -> Front:
    """Return what a router worker knows of the platform."""
    contracts = by_name("contract", plugins.hooks.at_start("longshore_contract"))
    return Front(settings, plugins.hooks, {name: each.value for name, each in contracts.items()})


def log_to_stderr(settings: Settings, who: str = "") -> None:
    """Let everybody's log lines go to standard error.

    Args:
        settings: say from which level on.
        who: put before each message.
    """
    handler = logging.StreamHandler(sys.stderr)
    layout = f"%(asctime)s %(levelname)s {who}%(message)s"
    handler.setFormatter(logging.Formatter(layout, "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("longshore").setLevel(settings.log_level.upper())


def check_exposure(settings: Settings, plugins: Plugins) -> None:
    """Refuse to be reached from other machines by callers whom nobody recognises.

    Raises:
        StartRefused: the address is not loopback and nothing authenticates.
    """
    authenticates = plugins.hooks.implemented("longshore_authenticate")
    if not (settings.on_loopback or authenticates or settings.insecure):
        raise StartRefused(
            f"{settings.host} can be reached from other machines, and nobody would need a key",
            hint="Set LONGSHORE_API_KEY to a secret of your choice, or, if everybody who can "
            "reach it may do everything, add --insecure.",
        )


@asynccontextmanager
async def running(
    settings: Settings,
    plugins: Plugins,
    *,
    keep_workloads: bool = False,
    sources: Sources = Sources(),
) -> AsyncIterator[Running]:
    """Run the whole platform in this event loop, and its workers, while the context is open.

    Args:
        settings: the platform's.
        plugins: as loaded by ``load``.
        keep_workloads: leave containers running at the end; the next start adopts them.
        sources: what workers load settings and plugins from.

    Raises:
        StartRefused: the address, the state directory, the database or the engine cannot be had.
    """
    check_exposure(settings, plugins)
    hooks = plugins.hooks
    # Nobody else can have the default file open: an earlier process that leads by it is dead.
    alone = settings.database is None
    async with AsyncExitStack() as stack:
        registry, installation = await _remembered(stack, hooks, settings)
        leadership = Leadership(registry, force=alone)
        stack.push_async_callback(leadership.release)
        backends = backends_of(hooks, settings)
        ending = _Ending()
        for backend in backends.values():
            stack.push_async_callback(ending.close, backend)
            await backend.open(installation)
        table, told, crew = table_of(stack, hooks, settings, sources.worker)
        reports = Reports(told, alone=alone)
        for backend in backends.values():
            _introduce(backend, reports, hooks, leadership)
        controller = Controller(
            registry,
            backends,
            hooks,
            reports,
            interval=settings.interval,
            leadership=leadership,
            retiring=reports.retiring,
            wake_collected=settings.wake_collected,
        )
        reports.hurried = controller.kick
        leadership.listen(reports.forget)
        leadership.listen(controller.leadership_changed)
        collector = Collector(
            settings,
            registry,
            backends,
            hooks,
            reports,
            kick=controller.kick,
            acts=lambda: leadership.leads,
        )
        platform = Platform(settings, hooks, registry, backends, controller, collector=collector)
        learner = Learner(
            registry,
            controller.models,
            backends,
            hooks,
            platform.replan,
            acts=lambda: leadership.leads,
        )
        await stack.enter_async_context(leadership.running())
        reporter = Reporter(
            reports,
            leadership,
            leadership.holder,
            applied=lambda: controller.following.applied,
            kick=controller.kick,
            wants_sums=True,
        )
        await stack.enter_async_context(reporter.running())
        await stack.enter_async_context(controller.running())
        await stack.enter_async_context(collector.running())
        await stack.enter_async_context(learner.running())
        app = build_app(platform, table, Colleagues(leadership, reports))
        address = await stack.enter_async_context(serving(app, crew, settings))
        leadership.announce(advertised(settings, address))

        def on_held(key: VersionKey) -> None:
            """Wake it, or let the leader know."""
            controller.wake(key)
            if not leadership.leads and table.load(key).held == 1:
                reporter.hurry()

        table.on_held = on_held

        @stack.callback
        def end() -> None:
            """Decide what becomes of containers while it is known who else is there."""
            leads = alone or (leadership.leads and not reports.live())
            ending.stop_workloads = leads and not keep_workloads

        settle()
        yield Running(f"http://{address}", backends)


def _introduce(backend: Backend, reports: Reports, hooks: Hooks, leadership: Leadership) -> None:
    """Let a backend know whom to ask what it wants to know."""
    if isinstance(backend, ReadsLoads):
        backend.read_loads(reports.loads)
    if isinstance(backend, ReadsNodes):
        backend.read_nodes(partial(_profiled, hooks))
    if isinstance(backend, ActsByItself):
        backend.act_only_while(lambda: leadership.leads)


async def _remembered(
    stack: AsyncExitStack, hooks: Hooks, settings: Settings
) -> tuple[Registry, str]:
    """Return the registry, open, and the id of the installation that it remembers.

    Args:
        stack: closes it, and lets go of the state directory.
        hooks: the plugins.
        settings: the platform's.

    Raises:
        StartRefused: the state directory or the database cannot be had.
    """
    stack.enter_context(exclusive(settings.state))
    registry = registry_of(hooks, settings)
    stack.push_async_callback(registry.close)
    await registry.open()
    return registry, await registry.installation()


async def _profiled(hooks: Hooks, node: Node) -> NodeProfile:
    profile, _ = await profile_node(hooks, node)
    return profile


@dataclass(slots=True)
class _Ending:
    """How backends are closed."""

    stop_workloads: bool = False

    async def close(self, backend: Backend) -> None:
        await backend.close(stop_workloads=self.stop_workloads)


@asynccontextmanager
async def routing(
    settings: Settings, plugins: Plugins, *, sources: Sources = Sources()
) -> AsyncIterator[Running]:
    """Run a router in this event loop, and its workers, while the context is open.

    It reads the database and where replicas are, and does nothing but carry predictions; all else
    it passes on to the controller that leads.

    Args:
        settings: the platform's.
        plugins: as loaded by ``load``.
        sources: what workers load settings and plugins from.

    Raises:
        StartRefused: there is no database to share, or a backend cannot be read by a router; or as
            with ``running``.
    """
    check_exposure(settings, plugins)
    if settings.database is None:
        raise StartRefused(
            "a router reads the models from the database of its controllers, and none is set",
            hint="Set LONGSHORE_DATABASE, or database in plugins.toml, to the URL that the "
            "controllers have: postgresql://USER:PASSWORD@HOST/DATABASE. Without such a database, "
            "longshore up does everything.",
        )
    hooks = plugins.hooks
    async with AsyncExitStack() as stack:
        registry, installation = await _remembered(stack, hooks, settings)
        backends = backends_of(hooks, settings)
        endpoints: dict[str, Source] = {}
        for name, backend in backends.items():
            if not isinstance(backend, ReadsEndpoints):
                raise StartRefused(
                    f"the backend {name} cannot be read by a router alone",
                    hint="Run longshore up beside it, which serves predictions, too; or take its "
                    "plugin out of the router's plugins.toml.",
                )
            stack.push_async_callback(backend.close, stop_workloads=False)
            await backend.open_to_read(installation)
            endpoints[name] = backend.endpoints
        table, told, crew = table_of(stack, hooks, settings, sources.worker)
        lookout, reports = Lookout(registry), Reports(told)
        publisher = Publisher(reports, wake_collected=settings.wake_collected)
        following = Following(registry, endpoints, publisher, reports.retiring)
        reporter = Reporter(
            reports,
            lookout,
            uuid.uuid4().hex,
            applied=lambda: following.applied,
            kick=following.kick,
            wants_sums=False,
        )
        table.on_held = lambda key: reporter.hurry() if table.load(key).held == 1 else None
        await stack.enter_async_context(lookout.running())
        await stack.enter_async_context(reporter.running())
        await stack.enter_async_context(following.running(list(backends.values()), hooks))
        leaving = Leaving(settings.stop_delay)
        app = build_router_app(
            front(settings, plugins), table, lookout, lambda: leaving.why or following.unready
        )
        address = await stack.enter_async_context(serving(app, crew, settings))
        stack.push_async_callback(leaving.leave)
        settle()
        yield Running(f"http://{address}", backends)


def serving(
    app: DocumentedApp, crew: Crew | None, settings: Settings
) -> AbstractAsyncContextManager[Address]:
    """Return what listens, in this process or in workers, while its context is open."""
    host, port = settings.host, settings.port
    if crew:
        return serve_with_crew(app, crew, host, port, settings.state)
    return serve(app, host, port, grace=settings.grace, lingers=settings.stop_delay > 0)
