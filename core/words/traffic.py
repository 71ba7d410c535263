"""A model's traffic rule as people read it."""

from collections.abc import Iterator, Sequence

from longshore.core.types import Model, TrafficRule

WEIGHTS = ("VERSION", "WEIGHT", "SHARE", "STATE")
"""Headings of a table of weights."""

_ALL = 100


def rule_lines(rule: TrafficRule) -> Iterator[str]:
    """Yield what a rule does beyond its weights, a sentence each."""
    if not rule.weights:
        passed_over = f", {rule.shadow.version} aside," if rule.shadow else ""
        yield f"No weights: the newest version that is ready{passed_over} gets all requests."
    if rule.sticky:
        yield f"Sticky: requests with the same {rule.sticky} get the same version."
    if rule.shadow:
        share = "each request" if rule.shadow.percent == _ALL else f"{rule.shadow.percent:g}%"
        yield (
            f"Shadow: a copy of {share} goes to version {rule.shadow.version}, "
            "whose answers are dropped."
        )


def weight_rows(model: Model) -> Sequence[tuple[str, ...]]:
    """Return the rows of a table of weights."""
    states = {each.version.key.version: each.status.state.value for each in model.versions}
    weights = model.traffic.weights
    return [
        (version, str(weight), share_of(model.traffic, version), states.get(version, ""))
        for version, weight in weights.items()
    ]


def share_of(rule: TrafficRule, version: str) -> str:
    """Return which share of a model's requests the weights give a version; empty without one."""
    weight = rule.weights.get(version)
    return "" if weight is None else f"{weight / sum(rule.weights.values()):.1%}"
