"""The commands that only read: ``models``, ``show``, ``explain``, ``events``."""

from collections.abc import Sequence

import click

from longshore.core.cli.client import Client
from longshore.core.cli.decisions import print_decisions
from longshore.core.cli.options import (
    Checked,
    Target,
    json_option,
    pass_client,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import COLOURS, coloured, fields, print_json, say, table
from longshore.core.types import Model, State, VersionRecord, Wake
from longshore.core.words.events import EVENTS, event_row
from longshore.core.words.text import age
from longshore.core.words.versions import MODELS, content_of, version_row, wake_seconds

_STATES = {state.value: colour for state, colour in COLOURS.items()}


@click.command()
@json_option
@platform_option
@pass_client
def models(client: Client, /, *, as_json: bool) -> None:
    """List all models and their versions.

    READY counts the replicas that are ready, and those that run.

    \b
    Example:
      longshore models
    """
    found = client.models()
    if as_json:
        print_json({"models": found})
    elif not found:
        say("Nothing is registered yet: longshore register NAME VERSION IMAGE")
    else:
        _list(found)


def _list(found: Sequence[Model]) -> None:
    rows = [version_row(model, record) for model in found for record in model.versions]
    table(MODELS, rows, colours=_STATES)


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def show(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Show everything that is known about a version.

    Of a model with several versions, a name alone shows these.

    \b
    Example:
      longshore show iris:1
    """
    if target.version is None:
        model = client.model(target.name)
        if len(model.versions) > 1:
            print_json(model) if as_json else _list([model])
            return
    key = target.key(client)
    record, wakes = client.version(key), client.wakes(key)
    if as_json:
        content = {"wakes": wakes, "wake_seconds": wake_seconds(wakes)}
        print_json({**record.model_dump(mode="json"), **content})
    else:
        _show(record, wakes)


def _show(record: VersionRecord, wakes: Sequence[Wake]) -> None:
    version, status = record.version, record.status
    state = coloured(status.state)
    say(f"{click.style(str(version.key), bold=True)} is {state}, for {age(status.since)}")
    fields(content_of(record, wakes))


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def explain(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Tell what was decided about a version, by whom and why.

    \b
    Example:
      longshore explain iris:1
    """
    decisions = client.decisions(target.key(client))
    if as_json:
        print_json({"decisions": decisions})
    else:
        print_decisions(decisions, dated=True)


@click.command()
@click.argument("target", required=False, type=Checked("NAME[:VERSION]", Target.parse))
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many."
)
@json_option
@platform_option
@pass_client
def events(client: Client, /, *, target: Target | None, limit: int, as_json: bool) -> None:
    """Tell what happened lately, the newest last.

    \b
    Example:
      longshore events iris:1 --limit 20
    """
    found = client.events(target.key(client) if target else None, limit)
    if as_json:
        print_json({"events": found})
    elif not found:
        say("Nothing has happened yet.")
    else:
        rows = [event_row(each) for each in found]
        kinds = {each: _STATES[State(each)] for each in ("ready", "failed")}
        table(EVENTS, rows, colours=kinds)
