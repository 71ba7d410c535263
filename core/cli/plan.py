"""A version's hardware plan in two lines, what it gets and where, and why."""

from longshore.core.cli.client import Client
from longshore.core.cli.output import say, tell
from longshore.core.cli.problems import Problem
from longshore.core.cli.waiting import busy
from longshore.core.names import VersionKey
from longshore.core.types import Placement, VersionSpec
from longshore.core.words.plan import plan_lines
from longshore.core.words.text import one_line, short_digests


def show_brief(client: Client, key: VersionKey, spec: VersionSpec, *, force: bool) -> None:
    """Print what registering would plan, in two lines; where it would be refused, print that, too.

    Raises:
        Problem: it would be refused.
    """
    refusal = None
    with busy(f"{key}: reading the image and planning"):
        try:
            version, _ = client.preflight(key, spec, force=force)
        except Problem as problem:
            # Of the same wish, as it would be for a node that is yet to come.
            refusal = problem
            version, _ = client.preflight(key, spec, force=True)
    for line in plan_lines(version.placement):
        say(one_line(line))
    tell_warnings(version.placement)
    if refusal is not None:
        raise refusal


def tell_warnings(placement: Placement) -> None:
    """Print what a plan warns of, on the side."""
    for warning in placement.plan.warnings:
        tell(f"Warning: {one_line(short_digests(warning))}")
