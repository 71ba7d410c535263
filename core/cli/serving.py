"""``longshore predict`` and ``longshore logs``."""

import sys
from pathlib import Path

import click

from longshore.core.cli.client import Client, pass_client
from longshore.core.cli.options import Checked, Target, platform_option, target_argument
from longshore.core.cli.output import harmless, is_terminal, print_body, say
from longshore.core.errors import InvalidInput


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise ValueError(f"{text!r} is no header: write NAME: VALUE")
    return name.strip().lower(), value.strip()


@click.command()
@target_argument
@click.option("-d", "--data", required=True, help="The body; @FILE reads a file, - standard input.")
@click.option("--version", help="The version; the traffic rule's choice if left out.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    type=Checked("NAME: VALUE", _header),
    help="A header to send; may be repeated.  [default: content-type: application/json]",
)
@platform_option
@pass_client
def predict(
    client: Client,
    /,
    *,
    target: Target,
    data: str,
    version: str | None,
    headers: tuple[tuple[str, str], ...],
) -> None:
    """Send a request to a model and print its answer.

    \b
    Examples:
      longshore predict iris -d '[[5.1,3.5,1.4,0.2]]'
      longshore predict iris:1 -d @features.json
    """
    sent = {"content-type": "application/json", **dict(headers)}
    with client.predict(target.name, target.version or version, _body(data), sent) as answer:
        content_type = answer.headers.get("content-type", "")
        if "event-stream" in content_type:
            for line in answer.iter_lines():
                say(harmless(line) if is_terminal() else line)
        else:
            print_body(answer.read(), content_type)


def _body(data: str) -> bytes:
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{data[1:]} cannot be read: {error.strerror}") from error


@click.command()
@target_argument
@click.option(
    "--tail",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    help="Lines of the past, per replica.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@platform_option
@pass_client
def logs(client: Client, /, *, target: Target, tail: int, follow: bool) -> None:
    """Print what a version's containers wrote; of several versions, the newest's.

    \b
    Example:
      longshore logs iris --follow
    """
    with client.logs(target.key(client, newest=True), tail, follow) as lines:
        for line in lines:
            say(harmless(line))
