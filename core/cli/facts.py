"""Facts about images as the command line prints them: a table, and where each was read."""

from collections.abc import Mapping

import click

from longshore.core.cli.output import say, table
from longshore.core.types import Confidence, Evidence
from longshore.core.words.facts import fact_details, fact_name, fact_names, fact_summary
from longshore.core.words.text import one_line

COLOURS = {
    Confidence.EXACT.value: "green",
    Confidence.DECLARED.value: "cyan",
    Confidence.INFERRED.value: "yellow",
    Confidence.UNKNOWN.value: "bright_black",
}


def print_facts(facts: Mapping[str, Evidence], *, explain: bool) -> None:
    """Print facts, what is not known of an image among them.

    Args:
        facts: by name.
        explain: with where each was read, and all that lists are shortened of.
    """
    if explain:
        for name in fact_names(facts):
            _explain(name, facts.get(name))
        return
    rows = [_row(name, facts.get(name)) for name in fact_names(facts)]
    table(("FACT", "CONFIDENCE", "VALUE"), rows, colours=COLOURS)


def _row(name: str, fact: Evidence | None) -> tuple[str, str, str]:
    if fact is None:
        return fact_name(name), Confidence.UNKNOWN.value, "-"
    return fact_name(name), fact.confidence.value, fact_summary(name, fact.value)


def _explain(name: str, fact: Evidence | None) -> None:
    label = click.style(fact_name(name), bold=True)
    if fact is None:
        say(f"{label}: {_coloured(Confidence.UNKNOWN)}")
        return
    say(f"{label}: {one_line(fact_summary(name, fact.value))}")
    say(f"    {_coloured(fact.confidence)}, by {one_line(fact.source)}")
    for line in fact_details(name, fact.value):
        say(f"    - {one_line(line)}")


def _coloured(confidence: Confidence) -> str:
    return click.style(confidence.value, fg=COLOURS[confidence.value])
