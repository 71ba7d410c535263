"""The commands that run a part of the platform, or all of it; and ``longshore plugins``."""

import asyncio
import json
import os
import resource
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import uvloop

from longshore import compose
from longshore.core.loading import load
from longshore.core.plugins import Plugins
from longshore.core.settings import Settings

config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The plugins.toml to use.  [default: ./plugins.toml if it is there]",
)


host_option = click.option(
    "--host",
    help="Address to listen on; beyond loopback needs LONGSHORE_API_KEY.  [default: 127.0.0.1]",
)
port_option = click.option(
    "--port", type=int, help="TCP port; 0 takes a free one.  [default: 8000]"
)
state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the database and caches.  [default: ./.longshore]",
)
insecure_option = click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Listen beyond loopback without authentication.",
)
workers_option = click.option(
    "--workers",
    type=int,
    help="Processes that carry predictions; up to one for each core.  [default: 1]",
)

Open = Callable[[Settings, Plugins, compose.Sources], AbstractAsyncContextManager[compose.Running]]
"""Opens what a command runs."""


@click.command()
@host_option
@port_option
@state_option
@insecure_option
@workers_option
@click.option(
    "--keep",
    is_flag=True,
    help="Leave containers running at the end; the next start adopts them.",
)
@config_option
def up(*, config: Path | None, keep: bool, **options: object) -> None:
    """Run the whole platform, until Ctrl-C.

    With one database of PostgreSQL, several may run: all of them serve, and one leads.

    \b
    Examples:
      longshore up --port 8000 --state ./.longshore
      LONGSHORE_DATABASE=postgresql://longshore@db/longshore longshore up --keep
    """

    def opened(
        settings: Settings, plugins: Plugins, sources: compose.Sources
    ) -> AbstractAsyncContextManager[compose.Running]:
        return compose.running(settings, plugins, keep_workloads=keep, sources=sources)

    stops = "containers go on" if keep else "containers stop, unless another process needs them"
    end = "containers go on" if keep else "no container is left that only this process needed"
    _run(opened, config, options, _Words(stops=stops, end=end))


@click.command()
@host_option
@port_option
@state_option
@insecure_option
@config_option
def controller(*, config: Path | None, **options: object) -> None:
    """Run a controller: the management API, and making it so.

    Of several on one database one leads; if it dies, another does within 15 seconds. Containers go
    on when it stops. Routers carry the predictions.

    \b
    Example:
      LONGSHORE_DATABASE=postgresql://longshore@db/longshore longshore controller --port 8000
    """

    def opened(
        settings: Settings, plugins: Plugins, sources: compose.Sources
    ) -> AbstractAsyncContextManager[compose.Running]:
        return compose.running(settings, plugins, keep_workloads=True, sources=sources)

    words = _Words(stops="containers go on", end="containers go on")
    _run(opened, config, {**options, "workers": 1}, words)


@click.command()
@host_option
@port_option
@state_option
@insecure_option
@workers_option
@config_option
def router(*, config: Path | None, **options: object) -> None:
    """Run a router: predictions, and nothing else.

    It reads the database of its controllers, and where replicas are. All calls but predictions it
    passes on to the controller that leads.

    \b
    Example:
      LONGSHORE_DATABASE=postgresql://longshore@db/longshore longshore router --workers 2
    """

    def opened(
        settings: Settings, plugins: Plugins, sources: compose.Sources
    ) -> AbstractAsyncContextManager[compose.Running]:
        return compose.routing(settings, plugins, sources=sources)

    words = _Words(stops="containers go on", end="containers go on")
    _run(opened, config, options, words)


@dataclass(frozen=True, slots=True)
class _Words:
    """What to say of containers."""

    stops: str
    end: str


def _run(opened: Open, config: Path | None, options: Mapping[str, object], words: _Words) -> None:
    settings, plugins = load(config, os.environ, options)
    compose.log_to_stderr(settings)
    # Each connection is an open file; by default a process may have only a thousand.
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    context = opened(settings, plugins, compose.Sources(config, options))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_a_signal(context, settings, words))


async def _until_a_signal(
    context: AbstractAsyncContextManager[compose.Running], settings: Settings, words: _Words
) -> None:
    """Run until a signal comes; a second one cuts the cleaning up short."""
    running = asyncio.create_task(_serve(context, settings, words))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        click.echo(f"Stopped; {words.end}.", err=True)


async def _serve(
    context: AbstractAsyncContextManager[compose.Running], settings: Settings, words: _Words
) -> None:
    async with context as running:
        _greet(settings, running, words)
        try:
            await asyncio.Event().wait()
        finally:
            click.echo("Stopping; Ctrl-C again stops at once, and may leave containers.", err=True)


def _greet(settings: Settings, running: compose.Running, words: _Words) -> None:
    engines = "; ".join(backend.describe() for backend in running.backends.values())
    click.echo(
        f"Longshore {version('longshore')} listens on {running.url}\n"
        f"  engine   {engines}\n"
        f"  state    {settings.state.absolute()}\n"
        f"  web page {running.url}/   API {running.url}/docs\n"
        f"Ctrl-C stops it; {words.stops}.",
        err=True,
    )


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def plugins(*, config: Path | None, as_json: bool) -> None:
    """List the enabled plugins in the order in which they are called.

    \b
    Example:
      longshore plugins --config plugins.toml
    """
    _, found = load(config, os.environ, {})
    rows = [
        {
            "order": order,
            "name": each.name,
            "version": each.version,
            "origin": each.origin,
            "hooks": list(each.hooks),
            "weight": each.weight,
        }
        for order, each in enumerate(found.loaded, start=1)
    ]
    if as_json:
        click.echo(json.dumps({"plugins": rows}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("order", "name", "version", "origin", "hooks"):
        table.add_column(heading, justify="right" if heading == "order" else "left")
    for row, each in zip(rows, found.loaded, strict=True):
        hooks = ", ".join(name.removeprefix("longshore_") for name in each.hooks)
        table.add_row(str(row["order"]), each.name, each.version, each.origin, hooks)
    Console().print(table)
