"""What the command line prints: tables, JSON, and the fields of values.

The tables are laid out here and not by rich, which takes 0.4 s for a thousand rows.
"""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click
from pydantic_core import to_json

from longshore.core.types import State
from longshore.core.words.fields import Field, told
from longshore.core.words.text import one_line

COLOURS = {
    State.READY: "green",
    State.FAILED: "red",
    State.ASLEEP: "blue",
    State.COLLECTED: "bright_black",
    State.PENDING: "yellow",
    State.PULLING: "yellow",
    State.STARTING: "yellow",
}

_NARROWEST = 20
"""Characters that a table's last column is left with on a narrow terminal."""
_NARROW = 32
"""Characters below which it is better read under its row than beside it."""
_INDENT = 4


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print for people; on a terminal without what it could take for a command."""
    click.echo(text)


def tell(text: str) -> None:
    """Print a remark on the side, to standard error."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(to_json(value, indent=2))


def coloured(state: State, text: str = "") -> str:
    """Return a state, or a text about it, in its colour."""
    return click.style(text or state.value, fg=COLOURS[state])


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    colours: Mapping[str, str] | None = None,
    *,
    wrap: bool = False,
) -> None:
    """Print rows in columns; on a terminal the last column is cut to what room there is.

    Args:
        headings: of the columns.
        rows: a cell for each heading.
        colours: of whole cells, by what they say.
        wrap: go on in further lines instead of cutting.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    room, columns = sys.maxsize, sys.maxsize
    if is_terminal():
        columns = shutil.get_terminal_size().columns
        room = columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    lines = [_line([click.style(each, bold=True) for each in headings], headings, widths)]
    for row in rows:
        *others, last = row
        beside, *below = _wrapped(last, room, columns) if wrap else [_cut(last, room)]
        cells = [*others, beside]
        painted = [
            click.style(cell, fg=colours[cell]) if colours and cell in colours else cell
            for cell in cells
        ]
        lines += [_line(painted, cells, widths), *below]
    click.echo("\n".join(lines))


def _cut(text: str, room: int) -> str:
    room = max(room, _NARROWEST)
    return text if len(text) <= room else text[: room - 1] + "…"


def _wrapped(text: str, room: int, columns: int) -> list[str]:
    """Return what stands beside the other cells, and the lines below them."""
    if len(text) <= room:
        return [text]
    if room < _NARROW:
        # Under the row, where there is more room than beside it.
        lines = textwrap.wrap(text, max(columns - _INDENT, _NARROWEST), break_on_hyphens=False)
        return ["", *(" " * _INDENT + line for line in lines)]
    beside, *lines = textwrap.wrap(text, room, break_on_hyphens=False)
    return [beside, *(" " * (columns - room) + line for line in lines)]


def _line(painted: Sequence[str], plain: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        paint + " " * (width - len(text))
        for paint, text, width in zip(painted[:-1], plain[:-1], widths[:-1], strict=True)
    )
    return "  ".join([*padded, painted[-1]]).rstrip()


def fields(content: Mapping[str, Any]) -> None:
    """Print what a mapping holds, nested mappings indented, what is empty left out."""
    _print_fields(told(content), 0)


def _print_fields(content: Sequence[Field], indent: int) -> None:
    margin = " " * indent
    for each in content:
        label = margin + click.style(each.name, bold=not indent)
        if each.fields is not None:
            click.echo(label)
            _print_fields(each.fields, indent + 2)
        elif each.lines is not None:
            click.echo(label)
            click.echo("\n".join(f"{margin}  {line}" for line in each.lines))
        else:
            click.echo(f"{label}: {each.text}")
