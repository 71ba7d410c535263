"""Decisions as people read them: whose each was, what came of it, from what, and why."""

from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo

from pydantic import JsonValue, ValidationError

from longshore.core.averages import AVERAGE, RECENT
from longshore.core.quantities import memory
from longshore.core.types import Decision, HardwarePlan
from longshore.core.words.facts import fact_line
from longshore.core.words.plan import plan_rows, scheduler_rows
from longshore.core.words.text import moment

_NOTHING = "none"
_MEBIBYTES = "_mib"
_AT = "_at"
_INPUTS = {
    "recent": f"average over {RECENT:g} s",
    "average": f"average over {AVERAGE:g} s",
    "ready": "replicas ready",
    "before": "replicas before",
}
_UNITS = {"rate": "requests/s"}


def inputs_of(decision: Decision, zone: tzinfo | None = None) -> str:
    """Return from what it was decided, in one line; empty where nothing is told.

    Args:
        decision: in question.
        zone: of the clock that times are told by; None: this machine's.
    """
    told = (_input(name, value, zone) for name, value in decision.inputs.items())
    return "; ".join(f"{name} = {text}" for name, text in told if text)


def _input(name: str, value: JsonValue, zone: tzinfo | None) -> tuple[str, str]:
    """Return what an input is called, and what it was; times by a clock, numbers with units."""
    if name.endswith(_AT) or name == "last_used":
        return name.removesuffix(_AT).replace("_", " "), _moment(value, zone)
    name, text = _with_unit(name, value)
    return _INPUTS.get(name, name), text


def _moment(value: JsonValue, zone: tzinfo | None) -> str:
    try:
        return moment(datetime.fromisoformat(str(value)), zone)
    except ValueError:
        return in_words(value)


def outcome_of(decision: Decision) -> Iterator[str]:
    """Yield what came of it, a line each."""
    outcome = decision.outcome
    if outcome is None:
        yield "no answer: it failed"
    elif decision.hook == "longshore_profile_image" and isinstance(outcome, Mapping):
        yield from (fact_line(name, value) for name, value in outcome.items())
    elif decision.hook == "longshore_plan_hardware" and (plan := _plan(outcome)):
        yield from (f"{name}: {value}" for name, value in plan_rows(plan))
        yield from (f"{which} {what}" for which, what in scheduler_rows(plan))
    elif decision.hook == "longshore_scale":
        yield f"{in_words(outcome)} replica{'s' * (outcome != 1)}"
    else:
        yield in_words(outcome) or _NOTHING


def _plan(outcome: JsonValue) -> HardwarePlan | None:
    """Return the plan that it is; None where another release wrote another one."""
    try:
        return HardwarePlan.model_validate(outcome)
    except ValidationError:
        return None


def in_words(value: JsonValue) -> str:
    """Return a JSON value as people write it, what is empty left out."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case Mapping():
            return ", ".join(_named(name, each) for name, each in value.items() if in_words(each))
        case list():
            return ", ".join(filter(None, map(in_words, value)))
        case _:
            return str(value)


def _named(name: str, value: JsonValue) -> str:
    return " ".join(_with_unit(name, value))


def _with_unit(name: str, value: JsonValue) -> tuple[str, str]:
    """Return a name in words, and a value with the unit that the name stands for."""
    if name.endswith(_MEBIBYTES) and isinstance(value, int):
        return name.removesuffix(_MEBIBYTES).replace("_", " "), memory(value)
    text, unit = in_words(value), _UNITS.get(name)
    return name.replace("_", " "), f"{text} {unit}" if text and unit else text
