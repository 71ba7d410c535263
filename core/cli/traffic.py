"""The command that shares a model's requests among its versions: ``traffic``."""

import re
from typing import Any

import click

from longshore.core import traffic as rules
from longshore.core.cli.client import Client
from longshore.core.cli.options import (
    Checked,
    json_option,
    model_argument,
    pass_client,
    platform_option,
)
from longshore.core.cli.output import COLOURS, print_json, say, table, tell
from longshore.core.names import check_sticky_header, check_version_name
from longshore.core.types import Model, Shadow, TrafficRule
from longshore.core.words.traffic import WEIGHTS, rule_lines, weight_rows

_HEAVIEST = 1_000_000
_ALL = 100
_PERCENT = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?", re.ASCII)


def _weight(text: str) -> tuple[str, int]:
    version, equals, weight = text.partition("=")
    if not (equals and weight.isascii() and weight.isdigit() and int(weight) <= _HEAVIEST):
        raise ValueError(
            f"{text!a} is no share: write VERSION=WEIGHT, the weight a whole number "
            f"from 0 to {_HEAVIEST:,}"
        )
    return check_version_name(version), int(weight)


def _shadow(text: str) -> Shadow:
    version, equals, percent = text.partition("=")
    percent = percent.removesuffix("%") if equals else f"{_ALL}"
    if not (_PERCENT.fullmatch(percent) and 0 < float(percent) <= _ALL):
        raise ValueError(
            f"{text!a} is no shadow: write VERSION or VERSION=PERCENT, the percentage above 0 "
            "and up to 100"
        )
    return Shadow(version=check_version_name(version), percent=float(percent))


@click.command()
@model_argument
@click.argument("weights", nargs=-1, type=Checked("VERSION=WEIGHT", _weight))
@click.option(
    "--sticky",
    type=Checked("HEADER", check_sticky_header),
    help="Requests with the same value of this header get the same version.",
)
@click.option("--no-sticky", is_flag=True, help="Each request is drawn at random.")
@click.option(
    "--shadow",
    type=Checked("VERSION[=PERCENT]", _shadow),
    help="A copy of each request, or of that percentage, goes to this version; its answers are "
    "dropped.",
)
@click.option("--no-shadow", is_flag=True, help="No version gets copies.")
@click.option("--clear", is_flag=True, help="No rule: the newest ready version gets all requests.")
@json_option
@platform_option
@pass_client
def traffic(client: Client, /, *, name: str, as_json: bool, **asked: Any) -> None:
    """Show or change which version gets a model's requests.

    What you leave out stays as it is: weights alone keep --sticky and --shadow, and these keep the
    weights. Weights that you give replace all weights. --clear ends everything.

    \b
    Examples:
      longshore traffic iris
      longshore traffic iris 1=90 2=10
      longshore traffic iris 1=90 2=10 --sticky x-user-id
      longshore traffic iris --shadow 3=25
      longshore traffic iris --no-sticky --no-shadow
    """
    _check(**asked)
    model = client.model(name)
    if any(asked.values()):
        model = client.set_traffic(name, _changed(model.traffic, **asked))
    for warning in rules.warnings(model):
        tell(f"Warning: {warning}")
    if as_json:
        print_json(model.traffic)
    else:
        _show(model)


def _check(
    *,
    weights: tuple[tuple[str, int], ...],
    sticky: str | None,
    no_sticky: bool,
    shadow: Shadow | None,
    no_shadow: bool,
    clear: bool,
) -> None:
    if clear and (weights or sticky or no_sticky or shadow or no_shadow):
        raise click.UsageError("--clear takes no weights and no other change: it ends all of them")
    if sticky and no_sticky:
        raise click.UsageError("--sticky and --no-sticky exclude each other")
    if shadow and no_shadow:
        raise click.UsageError("--shadow and --no-shadow exclude each other")
    shares = dict(weights)
    if len(shares) < len(weights):
        raise click.UsageError("a version has two weights")
    if weights and not any(shares.values()):
        raise click.UsageError("all weights are 0, so that no version would get a request")


def _changed(
    rule: TrafficRule,
    *,
    weights: tuple[tuple[str, int], ...],
    sticky: str | None,
    no_sticky: bool,
    shadow: Shadow | None,
    no_shadow: bool,
    clear: bool,
) -> TrafficRule:
    if clear:
        return TrafficRule()
    changes: dict[str, Any] = {}
    if weights:
        changes["weights"] = dict(weights)
    if sticky or no_sticky:
        changes["sticky"] = sticky
    if shadow or no_shadow:
        changes["shadow"] = shadow
    return rule.model_copy(update=changes)


def _show(model: Model) -> None:
    if model.traffic.weights:
        colours = {state.value: colour for state, colour in COLOURS.items()}
        table(WEIGHTS, weight_rows(model), colours=colours)
    for line in rule_lines(model.traffic):
        say(line)
