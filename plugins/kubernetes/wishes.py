"""What the cluster should have of each version, and whether it has it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from longshore.core.types import Workload
from longshore.plugins.kubernetes.kinds import Json, Kind


@dataclass(frozen=True, slots=True)
class Wish:
    """What was applied last for a version, by this process."""

    workload: Workload
    manifests: Mapping[Kind, Json]
    autoscaled: bool


def differences(wanted: object, has: object, path: str = "") -> Iterator[str]:
    """Yield where an object lacks what a manifest says, as paths; what it has besides is no matter.

    Lists are compared as they stand: a cluster completes the things in them, and keeps their order.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(has, Mapping):
            yield path
            return
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
    elif wanted != has:
        yield path
