"""Log lines of containers, so that they can be shown and kept."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

TAIL_LINES = 20
TAIL_BYTES = 8192
LONGEST_LINE = 16_384
"""Characters; what a container writes beyond them in one line is cut off."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Bidirectional marks too: they can make a line read as something else.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    at: str
    """Time in RFC 3339 as the engine writes it; of one engine, they sort as text."""
    text: str

    def cleaned(self) -> "Line":
        """Return the line as it may be shown."""
        return Line(self.at, clean(self.text))


def tail_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """Return the last lines, bounded in number and in bytes, for a status."""
    kept: deque[str] = deque()
    room = TAIL_BYTES
    for line in reversed(lines[-TAIL_LINES:]):
        text = line.text.encode()[:room].decode(errors="ignore")
        room -= len(text.encode())
        kept.appendleft(text)
        if room <= 0:
            break
    return tuple(kept)


def clean(text: str) -> str:
    """Return a line that is harmless on a terminal: no escapes, no control characters."""
    # Of a progress bar that draws over itself, the last state counts.
    shown = text.rstrip("\r\n").rpartition("\r")[2]
    shown = _CONTROLS.sub("", _ESCAPES.sub("", shown))
    return shown if len(shown) <= LONGEST_LINE else shown[:LONGEST_LINE] + "…"
