"""The command ``longshore node``: inspects the node that it runs on, and reports it."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import click

from longshore.compose import log_to_stderr
from longshore.core.errors import StartRefused
from longshore.core.loading import load
from longshore.core.plugins import Plugins
from longshore.core.protocols import Backend, TakesNodeReports
from longshore.core.settings import Settings
from longshore.hardware.node.reporting import NodeReporter
from longshore.parts import backends_of
from longshore.server_commands import config_option


@click.command()
@click.argument("name")
@click.option(
    "--every",
    type=click.IntRange(10, 8 * 3600),
    default=300,
    show_default=True,
    help="Seconds between two reports, where nothing changes.",
)
@config_option
def node(*, name: str, every: int, config: Path | None) -> None:
    """Inspect the node that this runs on, and report it, until it is stopped.

    NAME is what the backend calls the node. It needs no database, no key, and no rights but to
    report: a platform on the same backend reads the reports. On Kubernetes, the chart's
    nodeInspection.enabled runs it on each node.

    \b
    Example:
      LONGSHORE_BACKEND=kubernetes longshore node "$NODE_NAME"
    """
    settings, plugins = load(config, os.environ, {})
    log_to_stderr(settings)
    asyncio.run(_until_a_signal(settings, plugins, name, every))


async def _until_a_signal(settings: Settings, plugins: Plugins, name: str, every: int) -> None:
    reporting = asyncio.create_task(_report(settings, plugins, name, every))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, reporting.cancel)
    try:
        await reporting
    except asyncio.CancelledError:
        click.echo("Stopped.", err=True)


async def _report(settings: Settings, plugins: Plugins, name: str, every: int) -> None:
    backend: Backend = backends_of(plugins.hooks, settings)[settings.backend]
    if not isinstance(backend, TakesNodeReports):
        raise StartRefused(
            f"the backend {backend.name} takes no reports of nodes",
            hint="Longshore inspects the machine that it runs on by itself; reports are for nodes "
            "of a cluster: set LONGSHORE_BACKEND=kubernetes.",
        )
    await backend.open_to_report()
    try:
        await NodeReporter(plugins.hooks, partial(backend.report, name), every).run()
    finally:
        await backend.close(stop_workloads=False)
