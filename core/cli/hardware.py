"""The commands about hardware: ``longshore hardware report``.

They ask registries, or the machine itself, and need no running platform: settings and plugins are
loaded as it would.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from longshore.core.cli.client import Client
from longshore.core.cli.facts import print_facts
from longshore.core.cli.node_facts import print_node, print_nodes
from longshore.core.cli.options import json_option, pass_client, platform_option
from longshore.core.cli.output import print_json, say, tell
from longshore.core.cli.prospect import print_prospect
from longshore.core.cli.register import build_spec, option_of
from longshore.core.cli.waiting import busy
from longshore.core.cli.wishes import wish_options
from longshore.core.errors import InvalidInput
from longshore.core.fitting import Prospect, prospect
from longshore.core.images import profile_image, resolve_image
from longshore.core.loading import load
from longshore.core.machine import this_node
from longshore.core.measures import Measured, facts_of
from longshore.core.nodes import profile_node
from longshore.core.plugins import Plugins
from longshore.core.settings import Settings
from longshore.core.types import (
    Decision,
    Evidence,
    ImageProfile,
    KnownNode,
    NodeProfile,
    Progress,
    VersionSpec,
)
from longshore.core.words.text import one_line


@click.group()
def hardware() -> None:
    """Tell what this machine has and what images need, and why.

    \b
    Examples:
      longshore hardware report
      longshore hardware report localhost:5001/iris:1
    """


@hardware.command(short_help="Tell what this machine has, or where an image fits.")
@click.argument("image", required=False)
@click.option(
    "--cluster", is_flag=True, help="The nodes are those of a running platform, not this machine."
)
@click.option(
    "--backend", metavar="NAME", help="Of these nodes those of one backend, where there are more."
)
@wish_options
@click.option(
    "--explain", is_flag=True, help="Tell where each fact was read, and what each rule says."
)
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
    backend: str | None,
    explain: bool,
    as_json: bool,
    config: Path | None,
    state: Path | None,
    **wishes: Any,
) -> None:
    """Tell what this machine has, or what an image needs and where it fits.

    IMAGE is where it is, as docker pull takes it. Only its registry is asked, with the logins of
    plugins.toml: nothing is pulled, run or registered. Told are the facts of the image, the
    hardware plan that they lead to, what each rule says, and whether it fits on this machine, or
    with --cluster on each node of a running platform, which also tells what versions of the image
    used while they ran there. The wishes (--gpu and so on) are those that
    register takes. Without IMAGE, this machine is inspected. Only --cluster needs a platform.

    \b
    Examples:
      longshore hardware report
      longshore hardware report --cluster
      longshore hardware report localhost:5001/iris:1
      longshore hardware report registry.example.com/chat:2 --gpu 1 --gpu-memory 20Gi
      longshore hardware report registry.example.com/chat:2 --cluster --explain
    """
    if not os.environ.get("LONGSHORE_DEBUG"):
        # That a plugin failed is told as a warning, without where in its code.
        logging.getLogger("longshore").addHandler(logging.NullHandler())
    if backend is not None and not cluster:
        raise click.UsageError("--backend is about the nodes of a platform: add --cluster")
    if image is None:
        _refuse_wishes(wishes)
        if cluster:
            _report_nodes(_of(client.nodes(), backend), explain=explain, as_json=as_json)
            return
        _, plugins = load(config, os.environ, {"state": state})
        _report_machine(plugins, explain=explain, as_json=as_json)
        return
    if not image:
        raise InvalidInput("no image is named", pointer="/image")
    spec = build_spec({"image": image, "backend": backend, **wishes})
    there = _of_one_backend(_of(client.nodes(), backend)) if cluster else None
    settings, plugins = load(config, os.environ, {"state": state})
    measured = client.measures if cluster else None
    with busy(f"reading {image}") as show:
        profile, found, failures = asyncio.run(
            _find(settings, plugins, spec, there, measured, report=show)
        )
    for failure in failures:
        tell(f"Warning: {one_line(failure)}")
    for reason in _unread(profile.facts):
        tell(f"Warning: not all of the image was read: {one_line(reason)}")
    if as_json:
        print_json(_document(profile, found))
        return
    say(click.style(one_line(profile.image.pinned), bold=True))
    print_facts(profile.facts, explain=explain)
    print_prospect(found, explain=explain)


def _refuse_wishes(wishes: Mapping[str, Any]) -> None:
    for name, value in wishes.items():
        if value not in (None, ()):
            raise click.UsageError(f"{option_of(name)} is a wish for an image: name its IMAGE")


def _of(nodes: Sequence[KnownNode], backend: str | None) -> list[KnownNode]:
    """Return the nodes of a backend; all of them if None.

    Raises:
        InvalidInput: there are others, and none of it.
    """
    found = [each for each in nodes if backend in (None, each.backend)]
    if nodes and not found:
        raise InvalidInput(
            f"the platform has no node of a backend {backend!r}",
            hint=f"It has nodes of: {', '.join(_backends(nodes))}.",
        )
    return found


def _of_one_backend(nodes: Sequence[KnownNode]) -> list[NodeProfile]:
    """Return what is known of nodes; a version is planned for one backend.

    Raises:
        InvalidInput: they are of several.
    """
    backends = _backends(nodes)
    if len(backends) > 1:
        raise InvalidInput(
            f"the platform has nodes of {' and '.join(backends)}, and a version runs on one",
            hint=f"Say which: --backend {backends[0]}",
        )
    return [each.profile for each in nodes]


def _backends(nodes: Sequence[KnownNode]) -> list[str]:
    return list(dict.fromkeys(each.backend for each in nodes))


def _report_nodes(nodes: Sequence[KnownNode], *, explain: bool, as_json: bool) -> None:
    print_json({"nodes": nodes}) if as_json else print_nodes(nodes, explain=explain)


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


async def _find(
    settings: Settings,
    plugins: Plugins,
    spec: VersionSpec,
    nodes: Sequence[NodeProfile] | None,
    measured: Callable[[str], Sequence[Measured]] | None,
    *,
    report: Callable[[Progress], None],
) -> tuple[ImageProfile, Prospect, list[str]]:
    """Return what plugins know of an image, what that leads to, and what failed on the way.

    Args:
        settings: the platform's.
        plugins: asked.
        spec: the image, and what the user wishes.
        nodes: where it may run; this machine if None.
        measured: tells what was measured of an image, by its digest; None where nobody is to be
            asked.
        report: told how far reading the image has come.
    """
    decisions: list[Decision] = []
    hooks = plugins.hooks
    image = await resolve_image(hooks, settings, spec.image, decisions)
    profile = await profile_image(hooks, settings, image, decisions, report)
    failures = [each.why for each in decisions if each.outcome is None]
    if measured is not None and (told := facts_of(measured(image.digest), spec)):
        profile = profile.model_copy(update={"facts": {**profile.facts, **told}})
    if nodes is None:
        here, failed = await profile_node(hooks, this_node())
        nodes = [here]
        failures += [str(each) for each in failed]
    found = await prospect(hooks, spec, profile, nodes)
    return profile, found, list(dict.fromkeys([*failures, *found.failures]))


def _document(profile: ImageProfile, found: Prospect) -> dict[str, Any]:
    return {
        "image": profile.image,
        "facts": profile.facts,
        "plan": found.plan,
        "nodes": [
            {
                "name": each.node.node.name,
                "verdict": each.verdict,
                "reasons": [reason.why for reason in each.reasons],
                "score": each.score,
            }
            for each in found.fits
        ],
    }


def _unread(facts: Mapping[str, Evidence]) -> list[str]:
    match facts["scan"].value if "scan" in facts else None:
        case {"complete": False, "skipped": [*reasons]}:
            return [str(each) for each in reasons]
    return []
