"""Decisions as the command line prints them."""

from collections.abc import Sequence

import click

from longshore.core.cli.output import say
from longshore.core.types import Decision
from longshore.core.words.decisions import inputs_of, outcome_of
from longshore.core.words.text import moment, one_line, short_digests


def print_decisions(decisions: Sequence[Decision], *, dated: bool = False) -> None:
    """Print decisions in their order: the hook, whose answer it was, the outcome, and why.

    Args:
        decisions: oldest first.
        dated: tell when each was made.
    """
    for number, each in enumerate(decisions, start=1):
        hook = click.style(one_line(each.hook), bold=True)
        when = f", {moment(each.at)}" if dated else ""
        say(f"{number:2}. {hook} by {one_line(each.plugin)}{when}")
        for line in outcome_of(each):
            say(f"    {one_line(line)}")
        if inputs := inputs_of(each):
            say(f"    from: {one_line(inputs)}")
        if each.why:
            say(f"    why: {one_line(short_digests(each.why))}")
