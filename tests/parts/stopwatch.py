"""How long it takes until something is so, and a line about it for docs/operators.md."""

import time
from collections.abc import Callable

from parts.platform import until


def seconds_until(condition: Callable[[], object], within: float = 60) -> float:
    """Return after how many seconds a condition came true.

    Raises:
        AssertionError: it did not.
    """
    begun = time.monotonic()
    assert until(condition, within), f"not within {within:g} s"
    return time.monotonic() - begun


def tell(what: str, callers: str, said: str, right: float) -> None:
    """Print a row as the table "Bad days" has it; pytest shows it with ``-s`` or ``-rP``."""
    print(f"\n| {what} | {callers} | {said} | {right:.1f} s |")
