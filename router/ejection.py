"""Passive ejection: a replica that fails gets no requests for a moment, then one more chance.

Nobody probes here; the requests themselves tell. What counts is a replica that refuses the
connection, ends it without a whole answer, answers something that is not HTTP, or does not begin to
answer in time. An error that the model itself answers does not count, for it may be the caller's.

The moment doubles with each failure in a row, and an answer ends the row. The last replica is never
out: one that was ejected is still asked where no other has a free slot.
"""

import logging
from typing import Protocol

log = logging.getLogger(__name__)

FIRST = 1.0
"""Seconds that a replica is out after its first failure."""

LONGEST = 60.0
"""Seconds that it is out at most."""


class Ejectable(Protocol):
    """What is kept of a replica."""

    failures: int
    """How many requests failed in a row; those that failed together count as one."""
    failed_at: float
    """When one failed last, in seconds since the epoch."""
    out_until: float
    """Seconds since the epoch."""


def failed(replica: Ejectable, now: float) -> bool:
    """Note that a request to a replica failed; return whether this ejects it.

    Args:
        replica: which had the request.
        now: seconds since the epoch.
    """
    replica.failed_at = now
    if replica.out_until > now:
        # It was under way already, and tells nothing new.
        return False
    replica.out_until = now + min(LONGEST, FIRST * 2.0 ** min(replica.failures, 16))
    replica.failures += 1
    return True


def answered(replica: Ejectable) -> None:
    """Note that a replica gave a whole answer: it is well."""
    replica.failures = 0
    replica.out_until = 0.0


def is_out(replica: Ejectable, now: float) -> bool:
    """Return whether a replica is to be left alone."""
    # A clock that somebody set back must not keep it out for ever.
    return now < replica.out_until <= now + LONGEST


def has_just_failed(replica: Ejectable, now: float) -> bool:
    """Return whether it is too soon to ask a replica again, though there may be no other.

    How often it failed does not count: that one has come to itself is to be noticed soon.
    """
    return replica.failures > 0 and 0 <= now - replica.failed_at < FIRST
