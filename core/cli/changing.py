"""The commands that change what is registered: ``delete``, ``sleep``, ``wake``."""

import sys

import click

from longshore.core.cli.client import Client
from longshore.core.cli.options import (
    Target,
    json_option,
    pass_client,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import print_json, say
from longshore.core.cli.waiting import wait_until_ready
from longshore.core.errors import InvalidInput
from longshore.core.names import VersionKey
from longshore.core.types import State, Wish


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
@json_option
@platform_option
@pass_client
def sleep(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Stop a version's containers until somebody wakes or calls it.

    \b
    Example:
      longshore sleep iris:1
    """
    key = target.key(client)
    before = client.version(key)
    record = client.sleep(key)
    if as_json:
        print_json(record)
        return
    if before.wish is Wish.SLEEP and not before.status.replicas:
        say(f"{key} sleeps already.")
    else:
        say(f"{key} goes to sleep; its containers go within seconds, after their last answers.")
    say(f"Wake it: longshore wake {key}")


@click.command()
@target_argument
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
@json_option
@platform_option
@pass_client
def wake(client: Client, /, *, target: Target, wait: bool, as_json: bool) -> None:
    """Start a sleeping version.

    A failed one is started at once, instead of at its next try.

    \b
    Example:
      longshore wake iris:1
    """
    key = target.key(client)
    before = client.version(key).status
    woken = client.wake(key)
    if wait:
        woken = wait_until_ready(client, key, before)
    if as_json:
        print_json(woken)
    elif not wait:
        say(f"{key} starts. Look: longshore show {key}")
    elif woken.status.state is State.READY:
        say(f"{key} is ready.")
    else:
        say(f"{key} was put to sleep again.")
