"""What happened, as people read it."""

from datetime import tzinfo

from longshore.core.types import Event
from longshore.core.words.text import moment

EVENTS = ("WHEN", "VERSION", "WHAT", "MESSAGE")
"""Headings of a table of events."""


def event_row(event: Event, zone: tzinfo | None = None) -> tuple[str, ...]:
    """Return an event's row in a table of events; times by the clock of a zone, or this machine."""
    return moment(event.at, zone), str(event.key), event.kind, event.message
