"""The commands that need the whole platform: ``longshore up`` and ``longshore plugins``."""

import asyncio
import json
import os
import resource
import signal
from importlib.metadata import version
from pathlib import Path

import click
import uvloop

from longshore import compose
from longshore.core.plugins import Plugins
from longshore.core.settings import Settings

config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The plugins.toml to use.  [default: ./plugins.toml if it is there]",
)


@click.command()
@click.option(
    "--host",
    help="Address to listen on; beyond loopback needs LONGSHORE_API_KEY.  [default: 127.0.0.1]",
)
@click.option("--port", type=int, help="TCP port; 0 takes a free one.  [default: 8000]")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the database and caches.  [default: ./.longshore]",
)
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Listen beyond loopback without authentication.",
)
@click.option(
    "--workers",
    type=int,
    help="Processes that carry predictions; up to one for each core.  [default: 1]",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Leave containers running at the end; the next start adopts them.",
)
@config_option
def up(*, config: Path | None, keep: bool, **options: object) -> None:
    """Run the whole platform, until Ctrl-C.

    \b
    Example:
      longshore up --port 8000 --state ./.longshore
    """
    settings, plugins = compose.load(config, os.environ, options)
    compose.log_to_stderr(settings)
    # Each connection is an open file; by default a process may have only a thousand.
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_up(settings, plugins, compose.Sources(config, options), keep))


async def _up(settings: Settings, plugins: Plugins, sources: compose.Sources, keep: bool) -> None:
    """Run until a signal comes; a second one cuts the cleaning up short."""
    running = asyncio.create_task(_run(settings, plugins, sources, keep))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        end = "containers go on" if keep else "no container of this platform is left"
        click.echo(f"Stopped; {end}.", err=True)


async def _run(settings: Settings, plugins: Plugins, sources: compose.Sources, keep: bool) -> None:
    async with compose.running(settings, plugins, keep_workloads=keep, sources=sources) as platform:
        _greet(settings, platform, keep)
        try:
            await asyncio.Event().wait()
        finally:
            click.echo("Stopping; Ctrl-C again stops at once, and may leave containers.", err=True)


def _greet(settings: Settings, platform: compose.Running, keep: bool) -> None:
    engines = "; ".join(backend.describe() for backend in platform.backends.values())
    stops = "Ctrl-C stops it; containers go on." if keep else "Ctrl-C stops it and its containers."
    click.echo(
        f"Longshore {version('longshore')} listens on {platform.url}\n"
        f"  engine   {engines}\n"
        f"  state    {settings.state.absolute()}\n"
        f"  web page {platform.url}/   API {platform.url}/docs\n"
        f"{stops}",
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
    _, found = compose.load(config, os.environ, {})
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
