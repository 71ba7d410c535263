"""The commands that only read: ``models``, ``show``, ``explain``, ``events``."""

import json

import click

from longshore.core.cli.client import Client, pass_client
from longshore.core.cli.options import (
    Target,
    TargetType,
    json_option,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import age, fields, harmless, print_json, say, table
from longshore.core.types import Model, VersionRecord


@click.command()
@json_option
@platform_option
@pass_client
def models(client: Client, /, *, as_json: bool) -> None:
    """List all models and versions.

    \b
    Example:
      longshore models
    """
    found = client.models()
    if as_json:
        print_json({"models": found})
    elif not found:
        say("No model is registered yet. Register one: longshore register NAME VERSION IMAGE")
    else:
        _list(found)


def _list(found: list[Model]) -> None:
    rows = [_row(model, record) for model in found for record in model.versions]
    table(["MODEL", "VERSION", "STATE", "READY", "AGE", "IMAGE", "REASON"], rows)


def _row(model: Model, record: VersionRecord) -> list[str]:
    version, status = record.version, record.status
    return [
        model.name,
        version.key.version,
        status.state,
        f"{status.ready}/{status.replicas}",
        age(version.created_at),
        version.spec.image,
        status.reason,
    ]


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def show(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Show everything about a model, or one version of it.

    \b
    Example:
      longshore show iris:1
    """
    if target.version is None:
        model = client.model(target.name)
        if as_json:
            print_json(model)
            return
        _list([model])
        if model.traffic.weights:
            say("traffic: " + ", ".join(f"{v}={w}" for v, w in model.traffic.weights.items()))
        return
    key = target.key(client)
    record = client.version(key)
    if as_json:
        print_json(record)
        return
    fields({"version": str(key), "wish": record.wish})
    fields({"status": record.status.model_dump(mode="json")})
    fields(record.version.model_dump(mode="json", exclude={"key"}))
    wakes = client.wakes(key)
    if wakes:
        say(f"wakes: {len(wakes)}, last asked for {age(wakes[-1].asked_at)} ago")


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def explain(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Tell what was decided about a version: what, by which plugin, and why.

    \b
    Example:
      longshore explain iris:1
    """
    decisions = client.decisions(target.key(client))
    if as_json:
        print_json({"decisions": decisions})
        return
    for each in decisions:
        outcome = each.outcome if isinstance(each.outcome, str) else json.dumps(each.outcome)
        say(f"{click.style(each.hook, bold=True)} by {harmless(each.plugin)}")
        say(f"  {harmless(outcome)}")
        if each.why:
            say(f"  why: {harmless(each.why)}")


@click.command()
@click.argument("target", metavar="[NAME:VERSION]", required=False, type=TargetType())
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many events."
)
@json_option
@platform_option
@pass_client
def events(client: Client, /, *, target: Target | None, limit: int, as_json: bool) -> None:
    """Tell what happened, the newest last.

    \b
    Example:
      longshore events iris:1 --limit 20
    """
    found = client.events(target.key(client) if target else None, limit)
    if as_json:
        print_json({"events": found})
        return
    table(
        ["WHEN", "VERSION", "WHAT", "MESSAGE"],
        [
            [f"{each.at:%Y-%m-%d %H:%M:%S}", str(each.key), each.kind, each.message]
            for each in found
        ],
    )
