"""The commands that pass on what models answer and write: ``predict`` and ``logs``."""

import codecs
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
import httpx

from longshore.core.cli.client import Client
from longshore.core.cli.options import (
    Checked,
    Target,
    json_option,
    pass_client,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import is_terminal, print_json, tell
from longshore.core.cli.problems import problem_in
from longshore.core.errors import LongshoreError
from longshore.core.names import VersionKey, check_version_name
from longshore.core.quantities import size
from longshore.core.words.text import harmless

_PRETTIEST = 1 << 20
"""Bytes of JSON that are laid out anew for a terminal; more is printed as it comes."""

_TEXT = ("text/", "application/json", "application/x-ndjson", "application/xml")


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon and text.isprintable()):
        raise ValueError(f"{text!a} is no header: write NAME: VALUE")
    return name.strip().lower().encode(), value.strip().encode()


@click.command()
@target_argument
@click.option(
    "-d",
    "--data",
    required=True,
    metavar="DATA",
    help="The request's body; @FILE takes it from a file, - from standard input.",
)
@click.option(
    "--version",
    type=Checked("VERSION", check_version_name),
    help="Which version.  [default: by the model's traffic rule]",
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    type=Checked("NAME: VALUE", _header),
    help="Header to send; may be given again.  [default: content-type: application/json]",
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
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    """Send a request to a model, and print its answer.

    \b
    Examples:
      longshore predict iris -d '[[5.1,3.5,1.4,0.2]]'
      longshore predict iris:1 -d @features.json
    """
    if version and target.version and version != target.version:
        raise click.UsageError(f"{target.name}:{target.version} and --version {version} disagree")
    chosen = target.version or version
    sent = {b"content-type": b"application/json", **dict(headers)}
    with _body(data) as body, client.predict(target.name, chosen, body, sent) as answer:
        if answer.is_success:
            _print_answer(answer)
        else:
            _refused(answer, str(VersionKey(target.name, chosen)) if chosen else target.name)


@contextmanager
def _body(data: str) -> Iterator[bytes | IO[bytes]]:
    if data == "-":
        yield sys.stdin.buffer.read()
    elif data.startswith("@"):
        path = Path(data[1:])
        try:
            file = path.open("rb")
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            raise click.BadParameter(message, param_hint="--data") from error
        with file:
            # Only a real file tells its size, and models that know no chunks want to be told.
            yield file if path.is_file() else file.read()
    else:
        yield data.encode(errors="surrogateescape")


def _refused(answer: httpx.Response, whom: str) -> None:
    """Tell whether it was the platform that refused, or the model."""
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        answer.read()
        if problem := problem_in(answer):
            raise problem
    _print_answer(answer)
    raise LongshoreError(
        f"the model answered with status {answer.status_code}; what it said stands above",
        hint=f"See its log: longshore logs {whom}",
    )


def _print_answer(answer: httpx.Response) -> None:
    kind = answer.headers.get("content-type", "")
    pieces = answer.iter_bytes()
    if not is_terminal():
        for piece in pieces:
            click.echo(piece, nl=False)
    elif "json" in kind and int(answer.headers.get("content-length", _PRETTIEST)) < _PRETTIEST:
        _print_pretty(answer.read())
    elif kind.startswith(_TEXT) or not kind:
        _print_text(pieces)
    else:
        length = sum(len(piece) for piece in pieces)
        tell(f"The answer is {size(length)} of {harmless(kind)}. To keep it: > FILE")


def _print_pretty(body: bytes) -> None:
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode(errors="replace")
    click.echo(harmless(text))


def _print_text(pieces: Iterator[bytes]) -> None:
    """Print text on a terminal as it comes, a character that is cut in two put together."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = ""
    for piece in pieces:
        text = harmless(decoder.decode(piece)) or text
        click.echo(text, nl=False)
    if not text.endswith("\n"):
        click.echo()


@click.command()
@target_argument
@click.option(
    "--tail",
    metavar="LINES",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    help="How many lines of the past, per replica.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@json_option
@platform_option
@pass_client
def logs(client: Client, /, *, target: Target, tail: int, follow: bool, as_json: bool) -> None:
    """Print what a version's containers wrote.

    Where a model has several versions and none is named, it is the newest.

    \b
    Example:
      longshore logs iris --tail 20 --follow
    """
    if as_json and follow:
        raise click.UsageError("--json prints one document, and --follow would never end it")
    with client.logs(target.key(client, newest=True), tail, follow) as answer:
        if as_json:
            print_json({"lines": list(answer.iter_lines())})
        elif is_terminal():
            for line in answer.iter_lines():
                click.echo(harmless(line))
        else:
            for piece in answer.iter_bytes():
                click.echo(piece, nl=False)
