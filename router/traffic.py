"""Choosing by a header: the same caller gets the same version, on every router and after a restart.

Weighted rendezvous hashing. For each version, a hash of the version and the caller's value gives a
number that nobody can tell from a random one; the versions run a race in which a heavier one is
faster in proportion, and the winner gets the request. Nothing is remembered anywhere.

Of the ways to do this without a memory, it moves the fewest callers in the changes that people
make. If one version's weight grows, callers only move to it; if it shrinks or the version goes,
only from it; if two exchange weight, just the difference moves. Hashing onto the cumulative range
of the weights is as good where two neighbours exchange weight, but otherwise it shifts the bounds
of all versions in between: {1: 90, 2: 10} to {1: 80, 2: 10, 3: 10} moves 20% of the callers there,
and 11% here, where 10% is the least.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from longshore.core.types import TrafficRule

Header = Callable[[bytes], bytes | None]
"""Gives the value of a request's header by its name in lowercase; None where it has none."""

T = TypeVar("T")

_BITS = 52
"""So many, and a half, are exact in a float, so that a draw is never 0 nor 1."""


def no_headers(_name: bytes) -> None:
    """Be the ``Header`` of a request without any."""


class Sticky(Generic[T]):
    """The race among a model's versions.

    Args:
        model: its name; a caller who is early for one model's canary is not so for all.
        header: name of the header that tells callers apart, in lowercase.
        shares: each version's name, its weight above 0, and what to return for it.
    """

    __slots__ = ("_runners", "header")

    def __init__(self, model: str, header: str, shares: Sequence[tuple[str, int, T]]) -> None:
        self.header = header.encode()
        self._runners = [
            # Names have no colon, so no two versions of any models look alike. The hash is one that
            # other releases and machines compute alike; Python's own hash() differs by process.
            (hashlib.blake2b(f"{model}:{version}:".encode(), digest_size=8), weight, it)
            for version, weight, it in shares
        ]

    def choose(self, value: bytes) -> T:
        """Return the version for the callers with this value of the header."""
        best, winner = math.inf, self._runners[0][2]
        for start, weight, it in self._runners:
            hashed = start.copy()
            hashed.update(value)
            drawn = (int.from_bytes(hashed.digest()) >> (64 - _BITS)) + 0.5
            # Exponentially distributed times: each wins with its weight's share of all weights.
            time = -math.log(drawn / (1 << _BITS)) / weight
            if time < best:
                best, winner = time, it
        return winner


def sticky_of(
    model: str, rule: TrafficRule, shares: Sequence[tuple[str, int, T]]
) -> Sticky[T] | None:
    """Return how a model's requests stick; None where they do not, or have no choice."""
    if rule.sticky is None or len(shares) < 2:  # noqa: PLR2004 - one version is no choice
        return None
    return Sticky(model, rule.sticky, shares)
