"""The commands that change what is registered: ``delete``, ``sleep``, ``wake``, ``traffic``."""

import sys

import click

from longshore.core.cli.client import Client
from longshore.core.cli.options import (
    Checked,
    Target,
    json_option,
    model_argument,
    pass_client,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import COLOURS, print_json, say, table
from longshore.core.cli.waiting import wait_until_ready
from longshore.core.errors import InvalidInput
from longshore.core.names import VersionKey, check_version_name
from longshore.core.types import Model, State, TrafficRule

_HEAVIEST = 1_000_000


@click.command()
@target_argument
@click.option("-y", "--yes", is_flag=True, help="Delete several versions without asking.")
@platform_option
@pass_client
def delete(client: Client, /, *, target: Target, yes: bool) -> None:
    """Forget a version, or a model with all its versions.

    \b
    Examples:
      longshore delete iris:1
      longshore delete iris --yes
    """
    for key in _delete(client, target, yes):
        say(f"{key} is deleted.")
    say("Containers go within seconds, after their last answers.")


def _delete(client: Client, target: Target, yes: bool) -> list[str]:
    if target.version is not None:
        return client.delete(VersionKey(target.name, target.version))
    keys = [record.version.key for record in client.model(target.name).versions]
    if len(keys) == 1:
        # Not the whole model: somebody may register another version in this moment.
        return client.delete(keys[0])
    if not yes:
        _ask(target.name, [str(key) for key in keys])
    return client.delete_model(target.name)


def _ask(name: str, keys: list[str]) -> None:
    listed = ", ".join(keys)
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"{name} has {len(keys)} versions ({listed}), and nobody is there to be asked",
            hint=f"To delete them all: longshore delete {name} --yes",
        )
    if not click.confirm(f"Delete {name} with its {len(keys)} versions ({listed})?", err=True):
        raise click.Abort


@click.command()
@target_argument
@platform_option
@pass_client
def sleep(client: Client, /, *, target: Target) -> None:
    """Stop a version's containers until it is woken.

    \b
    Example:
      longshore sleep iris:1
    """
    key = target.key(client)
    client.sleep(key)
    say(f"{key} goes to sleep; its containers go within seconds, after their last answers.")
    say(f"Wake it: longshore wake {key}")


@click.command()
@target_argument
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
@platform_option
@pass_client
def wake(client: Client, /, *, target: Target, wait: bool) -> None:
    """Start a sleeping version.

    A failed one is started at once, instead of at its next try.

    \b
    Example:
      longshore wake iris:1
    """
    key = target.key(client)
    before = client.version(key).status
    client.wake(key)
    if not wait:
        say(f"{key} starts. Look: longshore show {key}")
        return
    woken = wait_until_ready(client, key, before)
    ready = woken.status.state is State.READY
    say(f"{key} is ready." if ready else f"{key} was put to sleep again.")


def _weight(text: str) -> tuple[str, int]:
    version, equals, weight = text.partition("=")
    if not (equals and weight.isascii() and weight.isdigit() and int(weight) <= _HEAVIEST):
        raise ValueError(
            f"{text!a} is no share: write VERSION=WEIGHT, the weight a whole number "
            f"from 0 to {_HEAVIEST:,}"
        )
    return check_version_name(version), int(weight)


@click.command()
@model_argument
@click.argument("weights", nargs=-1, type=Checked("VERSION=WEIGHT", _weight))
@click.option("--clear", is_flag=True, help="No rule: the newest ready version gets all requests.")
@json_option
@platform_option
@pass_client
def traffic(
    client: Client,
    /,
    *,
    name: str,
    weights: tuple[tuple[str, int], ...],
    clear: bool,
    as_json: bool,
) -> None:
    """Show or set which share of a model's requests each version gets.

    \b
    Examples:
      longshore traffic iris
      longshore traffic iris 1=90 2=10
    """
    if weights or clear:
        model = client.set_traffic(name, _rule(weights, clear))
    else:
        model = client.model(name)
    if as_json:
        print_json(model.traffic)
    elif not model.traffic.weights:
        say("No rule: the newest version that is ready gets all requests.")
    else:
        _show(model)


def _rule(weights: tuple[tuple[str, int], ...], clear: bool) -> TrafficRule:
    shares = dict(weights)
    if clear and weights:
        raise click.UsageError("--clear takes no weights")
    if len(shares) < len(weights):
        raise click.UsageError("a version has two weights")
    if weights and not any(shares.values()):
        raise click.UsageError("all weights are 0, so that no version would get a request")
    return TrafficRule(weights=shares)


def _show(model: Model) -> None:
    states = {each.version.key.version: each.status.state for each in model.versions}
    weights = model.traffic.weights
    total = sum(weights.values())
    rows = [
        (version, str(weight), f"{weight / total:.1%}", states.get(version, ""))
        for version, weight in weights.items()
    ]
    colours = {state.value: colour for state, colour in COLOURS.items()}
    table(("VERSION", "WEIGHT", "SHARE", "STATE"), rows, colours=colours)
