"""The options by which users wish for hardware; registering and the report have the same."""

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

from longshore.core.cli.options import Checked
from longshore.core.machine import ARCHITECTURES
from longshore.core.quantities import mebibytes, millicores

F = TypeVar("F", bound=Callable[..., Any])


def variable(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
        ValueError: it sets nothing.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"{text!a} sets nothing: write NAME=VALUE")
    return name, value


def _amount(read: Callable[[str], int]) -> Callable[[str], str]:
    def check(text: str) -> str:
        read(text)
        return text

    return check


_OPTIONS = (
    click.option(
        "--cpu",
        type=Checked("CORES", _amount(millicores)),
        help="Limit of a replica: 0.5, or 500m for the same.  [default: none]",
    ),
    click.option(
        "--memory",
        type=Checked("BYTES", _amount(mebibytes)),
        help="Limit of a replica: 512Mi, 2Gi, 2G.  [default: none]",
    ),
    click.option(
        "--gpu",
        type=click.IntRange(0, 64),
        help="Whole GPUs per replica; 0: none, whatever the image needs.  [default: what it needs]",
    ),
    click.option(
        "--gpu-memory",
        type=Checked("BYTES", _amount(mebibytes)),
        help="Memory that each GPU has at least: 20Gi.  [default: that of the weights in the "
        "image]",
    ),
    click.option(
        "--arch",
        "architecture",
        type=Checked("NAME", lambda text: ARCHITECTURES.get(text, text)),
        help="Run on nodes of this architecture: amd64.  [default: all that the image is built "
        "for]",
    ),
    click.option(
        "--node-selector",
        multiple=True,
        type=Checked("LABEL=VALUE", variable),
        help="Run on nodes with this label; may be given again.",
    ),
)


def wish_options(command: F) -> F:
    """Add them, in this order."""
    return reduce(lambda done, option: option(done), reversed(_OPTIONS), command)
