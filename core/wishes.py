"""What is left of a wish, whoever made it: a decision that ``explain`` tells."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from longshore.core.types import Decision, Load

CORE = "core"
"""Who decides where no plugin does, and no user."""

USER = "user"
"""Who decides where somebody asked for it, by whatever way."""


def wished(outcome: str, load: Load, why: str, *, by: str, at: datetime) -> Decision:
    """Return the decision that a version is to run, to sleep or to be collected.

    Args:
        outcome: what it is to do.
        load: what routers observed of it then.
        why: one sentence.
        by: whose decision it was.
        at: the time of day.
    """
    return Decision(hook="wish", plugin=by, outcome=outcome, inputs=seen(load), why=why, at=at)


def seen(load: Load) -> Mapping[str, JsonValue]:
    """Return what is kept of a load beside a decision that was made from it."""
    told: dict[str, JsonValue] = load.model_dump(
        mode="json", exclude={"key", "holds"}, exclude_none=True
    )
    return told
