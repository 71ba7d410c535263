"""What the cluster should have of each version, and whether it has it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from longshore.core.types import Workload
from longshore.plugins.kubernetes.kinds import Json, Kind
from longshore.plugins.kubernetes.nodes import quantity


@dataclass(frozen=True, slots=True)
class Wish:
    """What was applied last for a version, by this process."""

    workload: Workload
    manifests: Mapping[Kind, Json]
    autoscaled: bool


AMOUNTS = ("limits.", "requests.", "sizeLimit", "averageValue")
"""Where amounts stand, in paths."""

EXACT = frozenset({"selector", "matchLabels"})
"""Maps in which one entry more means something else."""


def differences(wanted: object, has: object, path: str = "") -> Iterator[str]:
    """Yield where an object lacks what a manifest says, as paths; what it has besides is no matter.

    Lists are compared as they stand: a cluster completes the things in them, and keeps their order.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(has, Mapping):
            yield path
            return
        if path.rpartition(".")[2] in EXACT and has.keys() - wanted.keys():
            yield path
        for name, value in wanted.items():
            # What is empty may be left out.
            if value or has.get(name):
                yield from differences(value, has.get(name), f"{path}.{name}")
    elif isinstance(wanted, list):
        if not isinstance(has, list) or len(wanted) != len(has):
            yield path
            return
        for number, (one, other) in enumerate(zip(wanted, has, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif wanted != has and not _same_amount(wanted, has, path):
        yield path


def _same_amount(wanted: object, has: object, path: str) -> bool:
    """Return whether two texts say the same amount: a cluster writes 1024Mi as 1Gi."""
    return (
        isinstance(wanted, str)
        and isinstance(has, str)
        and any(f".{each}" in path for each in AMOUNTS)
        and quantity(wanted) == quantity(has)
    )


def correction(wanted: Mapping[str, object], has: Mapping[str, object]) -> dict[str, object]:
    """Return the merge patch for what server-side apply leaves alone as somebody else's.

    That is what was added to lists of ours, and to maps in which it means something else.
    """
    change: dict[str, object] = {}
    for name, value in wanted.items():
        there = has.get(name)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            if deeper := correction(value, there):
                change[name] = deeper
            if name in EXACT and (extra := there.keys() - value.keys()):
                change[name] = {**deeper, **dict.fromkeys(extra)}
        elif isinstance(value, list) and next(differences(value, there), None) is not None:
            change[name] = value
    return change
