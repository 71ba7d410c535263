"""Times of the week, as people write them: ``mon-fri 08:00-18:00 Europe/Zurich``. Pure.

The days are names of three letters, ranges of them, several with commas, or ``daily``. The times
are those of the clocks of a place, so that summer time is followed; 24:00 is the end of the day. A
window whose end is before its beginning ends on the next day, and belongs to the one on which it
begins. Of an hour that a clock shows twice, the first one counts.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(r"(\S+)\s+([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})\s+(\S+)")
_EXAMPLE = "mon-fri 08:00-18:00 Europe/Zurich"
_MIDNIGHT = 24 * 60
_WEEK_AND_A_DAY = 8


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the week that comes again and again."""

    text: str
    """In its one spelling."""
    days: frozenset[int]
    """On which it begins; Monday is 0."""
    begins: int
    """Minutes after midnight."""
    ends: int
    """The same, of the day on which it begins; more than a day where it ends on the next one."""
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Opening:
    """One time at which a window is open."""

    window: str
    since: datetime
    until: datetime


@lru_cache(maxsize=4096)
def parse(text: str) -> Window:
    """Read a window.

    Raises:
        ValueError: it is none, and why.
    """
    found = _SHAPE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!a} is no time of the week: write it as {_EXAMPLE!r}")
    days, begin, end, place = found.groups()
    days = days.lower()
    begins, ends = _minutes(begin), _minutes(end)
    if begins == _MIDNIGHT:
        raise ValueError(f"no window can begin at {begin}: write 00:00, and the day after")
    if begins == ends:
        raise ValueError(f"{begin}-{end} is no time at all; the whole day is 00:00-24:00")
    return Window(
        text=f"{days} {begin}-{end} {place}",
        days=frozenset(_days(days)),
        begins=begins,
        ends=ends if ends > begins else ends + _MIDNIGHT,
        zone=zone_of(place),
    )


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    total = 60 * hours + minutes
    if minutes > 59 or total > _MIDNIGHT:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f"{text} is no time of day: it goes from 00:00 to 24:00")
    return total


def _days(text: str) -> Iterator[int]:
    if text == "daily":
        yield from range(7)
        return
    for part in text.split(","):
        first, _, last = part.partition("-")
        for name in {first, last or first}:
            if name not in _DAYS:
                raise ValueError(
                    f"{name!a} is no day: write {', '.join(_DAYS)}, a range of them, or daily"
                )
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        yield from (day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1))


def zone_of(place: str) -> ZoneInfo:
    """Return the time zone of a place.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return ZoneInfo(place)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # The last one is a folder of zones, or a name that no file can have.
        raise ValueError(
            f"{place!a} is no time zone: write UTC, or a name such as Europe/Zurich"
        ) from None


WarmWindow = Annotated[str, AfterValidator(lambda text: parse(text).text)]
"""A window in its one spelling."""


def open_at(windows: Iterable[str], now: datetime) -> Opening | None:
    """Return which of these windows is open at a time, and how long; the one that ends last."""
    openings = [
        each
        for window in windows
        for each in _openings(parse(window), now, days=1)
        if each.since <= now < each.until
    ]
    return max(openings, key=lambda each: each.until, default=None)


def next_after(windows: Iterable[str], now: datetime) -> Opening | None:
    """Return the next opening of one of these windows after a time; None of no windows."""
    openings = [
        each
        for window in windows
        for each in _openings(parse(window), now, days=_WEEK_AND_A_DAY)
        if each.since > now
    ]
    return min(openings, key=lambda each: each.since, default=None)


def _openings(window: Window, now: datetime, *, days: int) -> Iterator[Opening]:
    """Yield the openings that begin on the day before, or on that day and those after it."""
    today = now.astimezone(window.zone).date()
    for ahead in range(-1, days):
        day = today + timedelta(days=ahead)
        if day.weekday() in window.days:
            yield Opening(
                window.text, _moment(window, day, window.begins), _moment(window, day, window.ends)
            )


def _moment(window: Window, day: date, minutes: int) -> datetime:
    further, minutes = divmod(minutes, _MIDNIGHT)
    clock = time(minutes // 60, minutes % 60, tzinfo=window.zone)
    return datetime.combine(day + timedelta(days=further), clock).astimezone(UTC)
