"""Text of others, made harmless, and numbers as people read them."""

import json
import re
from datetime import datetime, tzinfo
from typing import Any

from longshore.core.quantities import size
from longshore.core.types import Progress, utc_now

# Whole escape sequences first, so that nothing of them is left to read; then every other character
# that a terminal obeys or that turns the direction of text round. Tab and line end are kept.
_OBEYED = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def harmless(text: str) -> str:
    """Return text without what a terminal could take for a command."""
    return _OBEYED.sub("", text)


def one_line(text: str) -> str:
    """Return harmless text without line ends, its spaces kept."""
    return harmless(text.replace("\r\n", "\n")).strip("\n").replace("\n", " ").replace("\t", " ")


def short_digests(text: str) -> str:
    """Return text with as much of each digest as it takes to tell it from others."""
    return _DIGEST.sub(r"\1…", text)


def age(since: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(0, int((utc_now() - since).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def moment(when: datetime, zone: tzinfo | None = None) -> str:
    """Return a time of day by the clock of a time zone, or of this machine, with the zone."""
    return when.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def progress(done: Progress) -> str:
    """Return how far something has come."""
    if not done.total:
        return done.what
    return f"{done.what}, {done.done * 100 // done.total}% of {size(done.total)}"


def plain(value: Any) -> str:
    """Return a JSON value as people read it: text as it is, the rest as JSON in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
