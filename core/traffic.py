"""What a traffic rule says about the versions that it names: pure functions over rules."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TypeVar

from longshore.core.types import Model, State, TrafficRule, VersionRecord, Wish

T = TypeVar("T")


class Standing(IntEnum):
    """What a version can do for the requests that name none; the lower, the sooner it gets them."""

    ANSWERS = 0
    """It is ready or asleep, or on its way from the one to the other."""
    FAILS = 1
    """It has failed, or starts for the first time."""
    COLLECTED = 2


def receiver(rule: TrafficRule, versions: Mapping[str, T], standing: Callable[[T], Standing]) -> T:
    """Return which version gets all requests that name none, where a rule has no weights.

    That is the newest of those that stand best. Routers go by it, and so does whoever must know
    what routers do.

    Args:
        rule: the model's.
        versions: at least one, by number, oldest first.
        standing: tells what each can do.
    """
    newest_first = list(versions.items())[::-1]
    shadow = rule.shadow.version if rule.shadow else None
    # What is tried out as a shadow must not answer callers only because it is the newest.
    others = [each for each in newest_first if each[0] != shadow]
    candidates: list[T] = [each for _, each in others or newest_first]
    return min(candidates, key=standing)


def versions_in(rule: TrafficRule) -> list[str]:
    """Return the versions that a rule names, each once."""
    shadow = [rule.shadow.version] if rule.shadow else []
    return list(dict.fromkeys([*rule.weights, *shadow]))


def without(rule: TrafficRule, version: str) -> TrafficRule:
    """Return what is left of a rule when a version is gone; how requests stick stays."""
    weights = {name: weight for name, weight in rule.weights.items() if name != version}
    shadow = rule.shadow if rule.shadow and rule.shadow.version != version else None
    # Weights that leave nobody any traffic are none.
    return TrafficRule(
        weights=weights if any(weights.values()) else {}, sticky=rule.sticky, shadow=shadow
    )


def warnings(model: Model) -> list[str]:
    """Return what a model's rule will not do as things are, each in one sentence.

    A rule may well come before its versions are ready, so none of this is an error.
    """
    rule = model.traffic
    records = {record.version.key.version: record for record in model.versions}
    total = sum(rule.weights.values())
    told = [
        f"{record.version.key} {trouble}, so that {weight / total:.1%} of the requests get 503 "
        f"for now: {_advice(record)}."
        for version, weight in rule.weights.items()
        if weight
        and (record := records.get(version))
        # One that sleeps is woken by the first request that is its.
        and not _sleeps(record)
        and (trouble := _trouble(record))
    ]
    if rule.sticky and not rule.weights:
        told.append(
            f"Without weights one version gets all requests, so that {rule.sticky} decides nothing."
        )
    if rule.shadow and (record := records.get(rule.shadow.version)):
        told += _about_shadow(rule, record, alone=len(records) == 1)
    return told


def _about_shadow(rule: TrafficRule, record: VersionRecord, *, alone: bool) -> list[str]:
    key = record.version.key
    answering = {version for version, weight in rule.weights.items() if weight}
    if answering == {key.version} or (alone and not answering):
        return [f"{key} answers all requests itself, so that none is copied to it."]
    # Where it has a weight as well, its trouble has been told.
    if key.version not in answering and (trouble := _trouble(record)):
        return [f"{key} {trouble}, so that copies for it come to nothing: {_advice(record)}."]
    return []


def _sleeps(record: VersionRecord) -> bool:
    return record.wish is Wish.SLEEP or record.status.state is State.ASLEEP


def _trouble(record: VersionRecord) -> str:
    state = record.status.state
    if record.wish is not Wish.RUN:
        return "is asleep" if record.wish is Wish.SLEEP else "is collected"
    return "" if state is State.READY else _STATES.get(state, f"is {state.value}")


_STATES = {State.FAILED: "has failed"}


def _advice(record: VersionRecord) -> str:
    key = record.version.key
    if record.wish is not Wish.RUN or record.status.state is State.ASLEEP:
        return f"longshore wake {key} starts it"
    return f"longshore show {key} tells more"
