"""What routers observe of a version, as people read it."""

from longshore.core.types import Load, TrafficRule
from longshore.core.words.text import age


def load_of(load: Load) -> str:
    """Return what it carries now; empty where that is nothing."""
    told = (
        f"{load.in_flight} in flight" if load.in_flight else "",
        f"{load.held} held" if load.held else "",
        f"{load.rate:.3g}/s" if load.rate else "",
    )
    return ", ".join(filter(None, told))


def called(load: Load) -> str:
    """Return how long ago it was called last; empty where nobody knows of a call."""
    return f"{age(load.last_request_at)} ago" if load.last_request_at else ""


def traffic_of(share: float, rule: TrafficRule, version: str) -> str:
    """Return what a version gets of its model's requests.

    Args:
        share: of the requests that name no version.
        rule: the model's.
        version: which.
    """
    shadow = rule.shadow if rule.shadow and rule.shadow.version == version else None
    told = (f"{share:.1%}" if share else "", f"copies of {shadow.percent:g}%" if shadow else "")
    return ", ".join(filter(None, told))
