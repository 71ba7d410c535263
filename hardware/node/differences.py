"""Where a node and its labels tell of the same, and do not agree. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from longshore.core.types import Confidence, Evidence


def with_differences(
    facts: Mapping[str, Evidence], others: Mapping[str, Evidence]
) -> dict[str, Evidence]:
    """Return facts that say in their source what others say otherwise, and by what.

    Only what both can know is compared: labels tell less of a CPU or a GPU than can be read of it.
    """
    told = dict(facts)
    for name, compare in _COMPARED.items():
        fact, other = facts.get(name), others.get(name)
        if fact is None or other is None or fact is other:
            continue
        if Confidence.UNKNOWN in (fact.confidence, other.confidence):
            continue
        try:
            said = compare(fact.value, other.value)
        except (KeyError, TypeError, ValueError, AttributeError):
            # What other plugins tell need not look as ours does.
            continue
        if said:
            source = f"{fact.source}; but {said}, by {other.source}"
            told[name] = fact.model_copy(update={"source": source})
    return told


def _whole(fact: Any, other: Any) -> str:
    return "" if fact == other else f"it is {other}"


def _release(fact: str, other: str) -> str:
    # Labels of older releases leave the end of a version out, or the zeros before a number.
    pairs = zip(fact.split("."), other.split("."), strict=False)
    return "" if all(int(one) == int(two) for one, two in pairs) else f"it is {other}"


def _gpus(fact: list[dict[str, Any]], other: list[dict[str, Any]]) -> str:
    if any((each.get("mig") or {}).get("instances") for each in (*fact, *other)):
        # What is in slices, labels count in several ways.
        return ""
    if len(fact) != len(other):
        return f"there are {len(other)}"
    for name in ("name", "memory_total_mib", "compute_capability"):
        one, two = ([each[name] for each in gpus] for gpus in (fact, other))
        # Labels tell of one kind alone, and not of everything.
        if None not in (*one, *two) and not any(_is(a, b) for a in one for b in two):
            return f"{name} is {', '.join(sorted({str(each) for each in two}))}"
    return ""


def _is(value: object, other: object) -> bool:
    """Return whether two values mean the same, each read or labelled."""
    if not (isinstance(value, str) and isinstance(other, str)):
        return value == other
    # A label holds no spaces, and of GPUs that containers share it goes on: -SHARED.
    one, two = value.replace(" ", "-"), other.replace(" ", "-")
    return one.startswith(two) or two.startswith(one)


_COMPARED: Mapping[str, Callable[[Any, Any], str]] = {
    "driver": _release,
    "cuda": _release,
    "gpus": _gpus,
    "cpu_architecture": _whole,
}
