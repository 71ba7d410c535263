"""The built-in plugin ``wake_ahead``: what was called at this time on other days will be again.

It is not enabled by itself, for it helps where calls come by the clock (a nightly job, the first
ones of a working day) and nowhere else.
"""

import bisect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from longshore.core.foresight import SLOT
from longshore.core.hookspecs import hookimpl
from longshore.core.types import Version
from longshore.core.windows import zone_of

LOOKED_AT = 4
"""Days, and weeks, that are looked back."""

OFTEN = 3
"""On so many of them there must have been a call."""

WEEK = timedelta(days=7)


class WakeAheadSettings(BaseModel):
    """Settings of the plugin ``wake_ahead`` in plugins.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    zone: str = "UTC"
    """The time zone by whose clocks callers go: ``Europe/Zurich``."""
    slack: float = Field(default=5, ge=0, le=120)
    """Minutes before and after the time of a call of other days in which one is expected; calls do
    not come by the second."""

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        return zone_of(name).key


class Plugin:
    """Expects calls by the clock.

    Args:
        settings: an operator's.
    """

    Settings = WakeAheadSettings

    def __init__(self, settings: WakeAheadSettings) -> None:
        self._zone = zone_of(settings.zone)
        self._slack = timedelta(minutes=settings.slack)

    @hookimpl(trylast=True)
    def longshore_expect_calls(
        self, version: Version, calls: Sequence[datetime], at: datetime
    ) -> str | None:
        """Expect a call where there was one at the same time on most other days."""
        return why_expected(calls, at, zone=self._zone, slack=self._slack)


def why_expected(
    calls: Sequence[datetime], at: datetime, *, zone: ZoneInfo, slack: timedelta
) -> str | None:
    """Return why a call is to be expected at a time, one sentence; None if none is.

    Days of the week count before days in a row: what is called from Monday to Friday is not
    expected on the second Saturday.

    Args:
        calls: when the slots began in which there were calls, oldest first.
        at: the time in question.
        zone: by whose clocks it is the same time on another day.
        slack: how long before and after the time of a call it is expected.
    """
    here = at.astimezone(zone)

    def called(days: int) -> bool:
        # The same reading of the clock there, whatever summer time did in between.
        then = (here - timedelta(days=days)).astimezone(UTC)
        # The first slot that is not over for so long.
        index = bisect.bisect_right(calls, then - slack - SLOT)
        return index < len(calls) and calls[index] <= then + slack

    weeks = sum(called(7 * week) for week in range(1, LOOKED_AT + 1))
    if weeks >= OFTEN:
        return f"it was called at this time on {weeks} of the last {LOOKED_AT} {here:%A}s"
    days = sum(called(day) for day in range(1, LOOKED_AT + 1))
    if days >= OFTEN and (called(7) or calls[0] > at - WEEK):
        return f"it was called at this time on {days} of the last {LOOKED_AT} days"
    return None
