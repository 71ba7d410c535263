"""Small files of the kernel, and its way to write which of many."""

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from longshore.hardware.node.facts import unreadable

MOST_BYTES = 16 << 20
"""More than any machine's /proc/cpuinfo."""
_MOST_NUMBERS = 1 << 16
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def text(path: Path) -> str:
    """Return what a file holds.

    Raises:
        Unread: it cannot be read.
    """
    with unreadable(path), path.open("rb") as file:
        return file.read(MOST_BYTES).decode(errors="replace").strip()


def number(path: Path) -> int:
    """Return the whole number that a file holds.

    Raises:
        Unread: it cannot be read, or holds something else.
    """
    held = text(path)
    with unreadable(path):
        return int(held, 0)


def names(folder: Path) -> list[str]:
    """Return what is in a folder, in order.

    Raises:
        Unread: it cannot be read.
    """
    with unreadable(folder):
        return sorted(each.name for each in folder.iterdir())


def mebibytes(path: Path, name: str) -> int:
    """Return a line of a meminfo file, which counts in kibibytes.

    Raises:
        Unread: it cannot be read, or has no such line.
    """
    held = text(path)
    with unreadable(f"{name} of {path}"):
        match = re.search(rf"^(?:Node +[0-9]+ +)?{name}: +([0-9]+) kB$", held, re.MULTILINE)
        if match is None:
            raise ValueError(held)
        return int(match[1]) >> 10


def numbers(path: Path) -> list[int]:
    """Return the numbers that a file lists as the kernel does: ``0-3,8``.

    Raises:
        Unread: it cannot be read, or holds something else.
    """
    held = text(path)
    with unreadable(path):
        return parse(held)


def parse(listed: str) -> list[int]:
    """Return the numbers of a list as the kernel writes it: ``0-3,8``.

    Raises:
        ValueError: it is none.
    """
    found: set[int] = set()
    for part in filter(None, listed.strip().split(",")):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{listed!r} is no list of numbers")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= _MOST_NUMBERS:
            raise ValueError(f"{listed!r} is no list of numbers")
        found.update(range(first, last + 1))
    return sorted(found)


def listed(found: Iterable[int]) -> str:
    """Return numbers as the kernel lists them; ``cpuset_cpus`` of engines takes the same."""
    runs = groupby(enumerate(sorted(set(found))), lambda each: each[1] - each[0])
    spans = [[each for _, each in run] for _, run in runs]
    return ",".join(f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
