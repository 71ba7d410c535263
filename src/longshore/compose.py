"""The one place where the rooms meet: plugins, registry, backends, controller and router.

Everything else knows only core; here they are put together, opened in order, and closed in the
reverse order.
"""

import fcntl
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from longshore.core.controller import Controller
from longshore.core.errors import StartRefused
from longshore.core.front import Front
from longshore.core.platform import Platform
from longshore.core.plugins import Plugins, build_plugins
from longshore.core.plugins_file import PluginsFile, read_plugins_file
from longshore.core.protocols import Backend, ReadsLoads, Registry
from longshore.core.registration import by_name
from longshore.core.settings import Settings, read_settings
from longshore.router.app import build_app
from longshore.router.server import serve
from longshore.router.table import Table
from longshore.router.workers.broadcast import Broadcast
from longshore.router.workers.counts import Counts
from longshore.router.workers.crew import Crew, columns_for, serve_with_crew
from longshore.router.workers.messages import Assignment

if TYPE_CHECKING:
    from longshore.core.routes import RouteTable

DEFAULT_CONFIG = Path("plugins.toml")


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
    platform: Platform
    backends: Mapping[str, Backend]


def load(
    config: Path | None, environment: Mapping[str, str], options: Mapping[str, object]
) -> tuple[Settings, Plugins]:
    """Read plugins.toml, variables and options, and load the plugins.

    Args:
        config: the file; ``plugins.toml`` in the current directory if None and it is there,
            otherwise the built-in defaults.
        environment: the process's variables.
        options: those of the command line, by the names of ``Settings``.

    Raises:
        StartRefused: something in them is wrong.
    """
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    file = read_plugins_file(config) if config else PluginsFile()
    settings = read_settings(file, environment, options)
    always = ["api_keys"] if settings.api_key else []
    return settings, build_plugins(file, always=always, backend=settings.backend)


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
    async with AsyncExitStack() as stack:
        stack.enter_context(_exclusive(settings.state))
        registry: Registry = _registry(plugins, settings)
        stack.push_async_callback(registry.close)
        await registry.open()
        installation = await registry.installation()
        answers = by_name("backend", hooks.at_start("longshore_backend", settings=settings))
        backends: dict[str, Backend] = {name: answer.value for name, answer in answers.items()}
        if settings.backend not in backends:
            raise StartRefused(
                f"no enabled plugin offers the backend {settings.backend!r}",
                hint="Enable its plugin in plugins.toml, or set backend to one of these: "
                f"{', '.join(backends) or 'none is enabled'}.",
            )
        for backend in backends.values():
            stack.push_async_callback(backend.close, stop_workloads=not keep_workloads)
            await backend.open(installation)
        table = Table(hooks)
        crew: Crew | None = None
        told: RouteTable = table
        if settings.workers > 1:
            counts, memory = Counts.create(columns_for(settings.workers))
            stack.callback(os.close, memory)
            told = broadcast = Broadcast(table, counts)
            crew = Crew(settings.workers, broadcast, memory, sources.worker, settings.grace)
        for backend in backends.values():
            if isinstance(backend, ReadsLoads):
                backend.read_loads(told.loads)
        controller = Controller(registry, backends, hooks, told, interval=settings.interval)
        platform = Platform(settings, hooks, registry, backends, controller)
        await stack.enter_async_context(controller.running())
        app = build_app(platform, table)
        host, port = settings.host, settings.port
        serving = (
            serve_with_crew(app, crew, host, port, settings.state)
            if crew
            else serve(app, host, port, grace=settings.grace)
        )
        address = await stack.enter_async_context(serving)
        settle()
        yield Running(f"http://{address}", platform, backends)


def settle() -> None:
    """Let the garbage collector pass over all that was loaded by now, which is there to stay.

    Looking at it again would stall requests, for some 60 ms each time.
    """
    gc.collect()
    gc.freeze()


def _registry(plugins: Plugins, settings: Settings) -> Registry:
    answers = plugins.hooks.at_start("longshore_registry", settings=settings)
    if not answers:
        raise StartRefused(
            "no enabled plugin offers a registry, Longshore's memory",
            hint="Enable the built-in one, sql_registry, in plugins.toml.",
        )
    registry: Registry = answers[0].value
    return registry


@contextmanager
def _exclusive(state: Path) -> Iterator[None]:
    """Hold the state directory: two platforms on one SQLite file would fight over containers."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartRefused(
            f"the state directory {state} cannot be used: {error.strerror}",
            hint="Name another one with --state.",
        ) from error
    try:
        try:
            # Let go by the kernel when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
            raise StartRefused(
                f"another Longshore (process {pid or 'unknown'}) runs with the state in {state}",
                hint="Use that one, stop it, or name another directory with --state.",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)
