"""What is held during one wake, as a router counts it, and as several routers count it together."""

from datetime import UTC, datetime
from typing import NamedTuple, Optional

from longshore.core.types import HoldsSeen

HOLD_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histograms of holds and wakes, in seconds; one more bucket takes the rest."""


class Holds(NamedTuple):
    """The requests that were held for one wake, or, without one, until none was left."""

    since: float
    """Seconds since the epoch."""
    until: float | None = None
    """None while some are held."""
    ended: int = 0
    """How many were held and are so no more; those who left are among them."""
    longest: float = 0.0
    """Seconds."""
    first_byte: float | None = None
    """When the first of their answers began."""
    lost: int = 0

    def are_of(self, woken_at: float) -> bool:
        """Return whether they were not over when a wake was asked for that is still under way."""
        return self.until is None or self.until >= woken_at

    def waited(self, seconds: float) -> "Holds":
        """Count one that is held no more."""
        return self._replace(ended=self.ended + 1, longest=max(self.longest, seconds))

    @staticmethod
    def together(one: Optional["Holds"], other: Optional["Holds"]) -> Optional["Holds"]:
        """Return what two routers counted during the last wake; an earlier one is passed over."""
        if one is None or other is None:
            return one or other
        early, late = sorted((one, other), key=lambda each: each.since)
        if early.until is not None and early.until < late.since:
            return late
        ends = early.until, late.until
        firsts = [each for each in (early.first_byte, late.first_byte) if each is not None]
        return Holds(
            since=early.since,
            until=None if None in ends else max(each for each in ends if each is not None),
            ended=early.ended + late.ended,
            longest=max(early.longest, late.longest),
            first_byte=min(firsts, default=None),
            lost=early.lost + late.lost,
        )

    def told(self, waiting: int) -> HoldsSeen:
        """Return it as the controller reads it.

        Args:
            waiting: how many are held now.
        """
        return HoldsSeen(
            since=datetime.fromtimestamp(self.since, UTC),
            until=_moment(self.until),
            held=self.ended + waiting + self.lost,
            longest=self.longest,
            first_byte_at=_moment(self.first_byte),
            lost=self.lost,
        )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
