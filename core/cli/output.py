"""What the command line prints: tables, JSON, ages, and nothing that could harm a terminal."""

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
from pydantic import BaseModel, TypeAdapter

from longshore.core.types import State, utc_now

# Everything but tab and line end that a terminal could take for a command.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|\x1b\[[0-9;?]*[ -/]*[@-~]")

COLOURS = {
    State.READY: "green",
    State.FAILED: "red",
    State.ASLEEP: "blue",
    State.PENDING: "yellow",
    State.PULLING: "yellow",
    State.STARTING: "yellow",
}


def harmless(text: str) -> str:
    """Return text of others without what a terminal could take for a command."""
    return _CONTROL.sub("", text)


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print text for people, which may hold the words of others."""
    click.echo(text)


def tell(text: str) -> None:
    """Print a remark on the side, to standard error."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(TypeAdapter(Any).dump_json(value, indent=2).decode())


def print_body(body: bytes, content_type: str) -> None:
    """Print an answer as it came; JSON in a readable form where a terminal shows it."""
    if not is_terminal():
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    text = body.decode(errors="replace")
    if "json" in content_type:
        with contextlib.suppress(ValueError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    click.echo(harmless(text))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the last column is cut to the terminal's width."""
    rows = [[harmless(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    room = shutil.get_terminal_size().columns if is_terminal() else 0
    click.echo(click.style(_line(headings, widths, room), bold=True))
    for row in rows:
        click.echo(_coloured(_line(row, widths, room), row))


def _line(cells: Sequence[str], widths: Sequence[int], room: int) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    line = "  ".join(padded).rstrip()
    return line[: room - 1] + "…" if 0 < room < len(line) else line


def _coloured(line: str, row: Sequence[str]) -> str:
    for cell in row:
        if cell in COLOURS:
            return line.replace(f" {cell} ", f" {click.style(cell, fg=COLOURS[State(cell)])} ", 1)
    return line


def fields(value: BaseModel | dict[str, Any], indent: int = 0) -> None:
    """Print the fields of a value, nested ones indented, empty ones left out."""
    content = value if isinstance(value, dict) else value.model_dump(mode="json")
    for name, each in content.items():
        if each in (None, "", [], {}):
            continue
        label = " " * indent + click.style(name.replace("_", " "), bold=not indent)
        if isinstance(each, dict):
            say(label)
            fields(each, indent + 2)
        elif isinstance(each, list) and each and isinstance(each[0], str):
            say(label)
            for line in each:
                say(" " * (indent + 2) + harmless(line))
        else:
            text = each if isinstance(each, str) else json.dumps(each)
            say(f"{label}: {harmless(text)}")


def age(since: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(0, int((utc_now() - since).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
