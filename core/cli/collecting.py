"""The commands about versions that nobody needs any more: ``gc``, ``pin``, ``unpin``."""

from collections.abc import Sequence

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
from longshore.core.names import VersionKey
from longshore.core.quantities import size
from longshore.core.types import Wish
from longshore.core.words.text import age, one_line, short_digests


@click.command()
@click.option("--plan", is_flag=True, help="Show what would go and why, and change nothing.")
@json_option
@platform_option
@pass_client
def gc(client: Client, /, *, plan: bool, as_json: bool) -> None:
    """Collect the versions that nobody calls any more.

    The platform does so by itself, within an hour. A collected version leaves the engine and frees
    its image there; its record stays, and longshore wake brings it back, unless the platform's
    setting delete_collected is on, which deletes its image from its registry, too: --plan tells.
    Never collected is what is pinned, what requests to its model lead to, and what was used within
    its retention time (30 days, unless --retention of its registration or the platform's setting
    says otherwise). Images that deleted versions left are freed as well.

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
    count, lost = len(found.going), found.without_image
    versions = "1 version" if count == 1 else f"{count} versions"
    if not count:
        say("Nothing is to be collected.")
    elif plan:
        say(f"{versions} would go, with {size(freed)} of images. Collect: longshore gc")
    else:
        for each in found.going:
            back = "" if each.key in lost else f" Bring it back: longshore wake {each.key}"
            say(f"{each.key} is collected: {each.why}.{back}")
        say(f"{versions} gone; {size(freed)} of images go with their containers.")
    if found.left_images:
        go = "would go" if plan else "go"
        say(
            f"Images that deleted versions left {go} as well, where nothing else needs them: "
            f"{_in_words(found.left_images)}."
        )
    if lost:
        _tell_of_deletion(lost, planned=plan)


def _in_words(references: Sequence[str]) -> str:
    return one_line(short_digests(", ".join(references)))


def _tell_of_deletion(lost: Sequence[VersionKey], *, planned: bool) -> None:
    keys = ", ".join(map(str, lost))
    images = f"The image of {keys}" if len(lost) == 1 else f"The images of {keys}"
    would = "would be" if planned else f"{'is' if len(lost) == 1 else 'are'} being"
    say(
        f"{images} {would} deleted from the registry, too (delete_collected): "
        "only a new push brings it back."
    )


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
@json_option
@platform_option
@pass_client
def pin(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Let a version never be collected.

    \b
    Example:
      longshore pin iris:1
    """
    key = target.key(client)
    record = client.pin(key, pinned=True)
    if as_json:
        print_json(record)
    else:
        say(f"{key} is pinned: it is never collected. Undo: longshore unpin {key}")


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def unpin(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Let a version be collected when nobody calls it.

    \b
    Example:
      longshore unpin iris:1
    """
    key = target.key(client)
    record = client.pin(key, pinned=False)
    if as_json:
        print_json(record)
    elif record.wish is Wish.COLLECT:
        say(f"{key} is not pinned any more; it is collected. Bring it back: longshore wake {key}")
    else:
        say(f"{key} is collected when nobody calls it for its retention time.")
