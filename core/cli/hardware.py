"""The commands about hardware: ``longshore hardware report``.

They ask registries, or the machine itself, and need no running platform: settings and plugins are
loaded as it would.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import click

from longshore.core.cli.client import Client
from longshore.core.cli.facts import print_facts
from longshore.core.cli.node_facts import print_node, print_nodes
from longshore.core.cli.options import json_option, pass_client, platform_option
from longshore.core.cli.output import print_json, say, tell
from longshore.core.cli.text import one_line
from longshore.core.cli.waiting import busy
from longshore.core.errors import InvalidInput
from longshore.core.images import profile_image, resolve_image
from longshore.core.loading import load
from longshore.core.machine import this_node
from longshore.core.nodes import profile_node
from longshore.core.plugins import Plugins
from longshore.core.settings import Settings
from longshore.core.types import Decision, Evidence, ImageProfile


@click.group()
def hardware() -> None:
    """Tell what this machine has and what images need, and why.

    \b
    Examples:
      longshore hardware report
      longshore hardware report localhost:5001/iris:1
    """


@hardware.command()
@click.argument("image", required=False)
@click.option("--cluster", is_flag=True, help="Tell what all nodes of a running platform have.")
@click.option("--explain", is_flag=True, help="Tell where each fact was read.")
@json_option
@platform_option
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The plugins.toml to use.  [default: ./plugins.toml if it is there]",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the cache of what layers hold.  [default: ./.longshore]",
)
@pass_client
def report(
    client: Client,
    /,
    *,
    image: str | None,
    cluster: bool,
    explain: bool,
    as_json: bool,
    config: Path | None,
    state: Path | None,
) -> None:
    """Tell what this machine has; or what an image holds and needs, without running or pulling it.

    IMAGE is where it is, as docker pull takes it. Only its registry is asked, with the logins of
    plugins.toml. Without IMAGE, this machine is inspected. Only --cluster needs a running platform.

    \b
    Examples:
      longshore hardware report
      longshore hardware report --cluster
      longshore hardware report localhost:5001/iris:1
      longshore hardware report registry.example.com/chat:2 --explain
    """
    if cluster:
        if image is not None:
            raise click.UsageError("--cluster tells of nodes, and takes no IMAGE")
        nodes = client.nodes()
        print_json({"nodes": nodes}) if as_json else print_nodes(nodes, explain=explain)
        return
    settings, plugins = load(config, os.environ, {"state": state})
    if image is None:
        _report_machine(plugins, explain=explain, as_json=as_json)
        return
    with busy(f"reading {image}"):
        profile, failures = asyncio.run(_profile(settings, plugins, image))
    for failure in failures:
        tell(f"Warning: {one_line(failure)}")
    for reason in _unread(profile.facts):
        tell(f"Warning: not all of the image was read: {one_line(reason)}")
    if as_json:
        print_json(profile)
        return
    say(click.style(one_line(profile.image.pinned), bold=True))
    print_facts(profile.facts, explain=explain)


def _report_machine(plugins: Plugins, *, explain: bool, as_json: bool) -> None:
    with busy("inspecting this machine"):
        profile, failures = asyncio.run(profile_node(plugins.hooks, this_node()))
    for failure in failures:
        tell(f"Warning: {one_line(str(failure))}")
    if as_json:
        print_json(profile)
        return
    say(click.style(one_line(profile.node.name), bold=True))
    print_node(profile.facts, explain=explain)


async def _profile(
    settings: Settings, plugins: Plugins, reference: str
) -> tuple[ImageProfile, list[str]]:
    """Return what plugins know of an image, and what failed on the way."""
    decisions: list[Decision] = []
    if not reference:
        raise InvalidInput("no image is named", pointer="/image")
    image = await resolve_image(plugins.hooks, settings, reference, decisions)
    profile = await profile_image(plugins.hooks, settings, image, decisions)
    return profile, [each.why for each in decisions if each.outcome is None]


def _unread(facts: Mapping[str, Evidence]) -> list[str]:
    match facts["scan"].value if "scan" in facts else None:
        case {"complete": False, "skipped": [*reasons]}:
            return [str(each) for each in reasons]
    return []
