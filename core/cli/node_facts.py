"""Facts about nodes as the command line prints them."""

from collections.abc import Iterable, Mapping, Sequence

import click

from longshore.core.cli.facts import COLOURS
from longshore.core.cli.output import say, table
from longshore.core.types import Evidence, KnownNode
from longshore.core.words.node_facts import (
    NODES,
    fact_name,
    fact_names,
    fact_summary,
    node_row,
    reasons_unread,
    tables,
)
from longshore.core.words.text import one_line


def print_node(facts: Mapping[str, Evidence], *, explain: bool) -> None:
    """Print facts.

    Args:
        facts: by name.
        explain: with where each was read.
    """
    rows = [(name, facts[name]) for name in fact_names(facts)]
    if explain:
        print_sources(facts, [name for name, _ in rows])
    else:
        cells = [
            (fact_name(name), fact.confidence.value, fact_summary(name, fact))
            for name, fact in rows
        ]
        table(("FACT", "CONFIDENCE", "VALUE"), cells, colours=COLOURS)
    for told in tables(facts):
        say("")
        table(*told)
    reasons = reasons_unread(facts)
    if reasons:
        say(f"\n{click.style('Not read', bold=True)}")
        for why, names in reasons.items():
            say(f"  {one_line(', '.join(names))}: {one_line(why)}")


def print_sources(facts: Mapping[str, Evidence], names: Iterable[str], indent: int = 0) -> None:
    """Print some facts with where each was read.

    Args:
        facts: by name.
        names: of those to print; what is not there is passed over.
        indent: characters before each line.
    """
    margin = " " * indent
    for name in names:
        if fact := facts.get(name):
            label = click.style(fact_name(name), bold=True)
            say(f"{margin}{label}: {one_line(fact_summary(name, fact))}")
            sure = click.style(fact.confidence.value, fg=COLOURS[fact.confidence.value])
            say(f"{margin}    {sure}, by {one_line(fact.source)}")


def print_nodes(nodes: Sequence[KnownNode], *, explain: bool) -> None:
    """Print the nodes of a cluster: a line for each, or all that is known of each.

    Args:
        nodes: of all backends.
        explain: with all facts, and where each was read.
    """
    if explain:
        for each in nodes:
            name = f"{each.profile.node.name} ({each.backend})"
            say(click.style(one_line(name), bold=True))
            print_node(each.profile.facts, explain=True)
            say("")
        return
    table(NODES, [node_row(each) for each in nodes])
