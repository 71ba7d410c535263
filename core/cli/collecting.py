"""The commands about versions that nobody needs any more: ``gc``, ``pin``, ``unpin``."""

import click

from longshore.core.cli.client import Client
from longshore.core.cli.options import (
    Target,
    json_option,
    pass_client,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import print_json, say, table
from longshore.core.collection import Collection
from longshore.core.quantities import size
from longshore.core.words.text import age


@click.command()
@click.option("--plan", is_flag=True, help="Show what would go and why, and change nothing.")
@json_option
@platform_option
@pass_client
def gc(client: Client, /, *, plan: bool, as_json: bool) -> None:
    """Collect the versions that nobody calls any more.

    The platform does so by itself, within an hour. A collected version leaves the engine and frees
    its image there; its record stays, and longshore wake brings it back. Never collected is what is
    pinned, what the traffic rule of its model leads to, and what was used within its retention time
    (30 days, unless --retention of its registration or the platform's setting says otherwise).

    \b
    Examples:
      longshore gc --plan
      longshore gc
    """
    found = client.plan_collection() if plan else client.collect()
    if as_json:
        print_json(found)
        return
    if plan and found.verdicts:
        _list(found)
    freed = sum(each.size_bytes for each in found.going)
    count = len(found.going)
    versions = "1 version" if count == 1 else f"{count} versions"
    if not count:
        say("Nothing is to be collected.")
    elif plan:
        say(f"{versions} would go, with {size(freed)} of images. Collect: longshore gc")
    else:
        for each in found.going:
            say(f"{each.key} is collected: {each.why}. Bring it back: longshore wake {each.key}")
        say(f"{versions} gone; {size(freed)} of images go with their containers.")


def _list(found: Collection) -> None:
    rows = [
        (
            str(each.key),
            "collect" if each.collect else "keep",
            age(each.last_used),
            size(each.size_bytes) if each.size_bytes else "-",
            each.why,
        )
        for each in found.verdicts
    ]
    headings = ("VERSION", "VERDICT", "UNUSED FOR", "FREES", "WHY")
    table(headings, rows, colours={"collect": "yellow", "keep": "green"})


@click.command()
@target_argument
@platform_option
@pass_client
def pin(client: Client, /, *, target: Target) -> None:
    """Let a version never be collected.

    \b
    Example:
      longshore pin iris:1
    """
    key = target.key(client)
    client.pin(key, pinned=True)
    say(f"{key} is pinned: it is never collected. Undo: longshore unpin {key}")


@click.command()
@target_argument
@platform_option
@pass_client
def unpin(client: Client, /, *, target: Target) -> None:
    """Let a version be collected when nobody calls it.

    \b
    Example:
      longshore unpin iris:1
    """
    key = target.key(client)
    client.pin(key, pinned=False)
    say(f"{key} is collected when nobody calls it for its retention time.")
