"""The commands that change what is registered: ``delete``, ``sleep``, ``wake``, ``traffic``."""

import click

from longshore.core.cli.client import Client, pass_client
from longshore.core.cli.options import (
    Checked,
    Target,
    json_option,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import print_json, say, tell
from longshore.core.cli.waiting import interrupted, wait_until_ready
from longshore.core.errors import InvalidInput
from longshore.core.names import check_model_name, check_version_name
from longshore.core.types import TrafficRule


@click.command()
@target_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask before deleting several versions.")
@platform_option
@pass_client
def delete(client: Client, /, *, target: Target, yes: bool) -> None:
    """Forget a version, or a model with all its versions.

    Their containers are removed within seconds, after their last answers.

    \b
    Example:
      longshore delete iris:1
    """
    if target.version is None and not yes:
        number = len(client.model(target.name).versions)
        if number > 1:
            click.confirm(f"Delete all {number} versions of {target.name}?", abort=True, err=True)
    for key in client.delete(target.name, target.version):
        say(f"{key} is deleted")


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
    say(f"{key} goes to sleep; wake it with: longshore wake {key}")


@click.command()
@target_argument
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
@platform_option
@pass_client
def wake(client: Client, /, *, target: Target, wait: bool) -> None:
    """Start a sleeping version, or a failed one at once instead of at its next try.

    \b
    Example:
      longshore wake iris:1
    """
    key = target.key(client)
    before = client.version(key).status
    client.wake(key)
    if not wait:
        say(f"{key} starts")
        return
    try:
        wait_until_ready(client, key, stale=before)
    except KeyboardInterrupt:
        raise interrupted(key) from None
    say(f"{key} is ready")


def _weight(text: str) -> tuple[str, int]:
    version, equals, weight = text.partition("=")
    if not (equals and weight.isdecimal()):
        raise ValueError(f"{text!r} is no share: write VERSION=WEIGHT, such as 2=10")
    return check_version_name(version), int(weight)


@click.command()
@click.argument("name", type=Checked("NAME", check_model_name))
@click.argument("weights", nargs=-1, metavar="[VERSION=WEIGHT]...", type=Checked("SHARE", _weight))
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
    if weights and clear:
        raise InvalidInput("--clear takes no weights", hint="Give the one or the other.")
    if weights and not any(weight for _, weight in weights):
        raise InvalidInput("all weights are 0, so that no version would get a request")
    if weights or clear:
        model = client.set_traffic(name, TrafficRule(weights=dict(weights)))
        tell(f"The traffic rule of {name} is {'set' if weights else 'cleared'}")
    else:
        model = client.model(name)
    if as_json:
        print_json(model.traffic)
    elif not model.traffic.weights:
        say("No rule: the newest version that is ready gets all requests.")
    else:
        total = sum(model.traffic.weights.values())
        for version, weight in model.traffic.weights.items():
            say(f"{version}  {weight}  ({weight / total:.1%})")
