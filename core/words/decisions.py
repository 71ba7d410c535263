"""Decisions as people read them: whose each was, what came of it, from what, and why."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue, ValidationError

from longshore.core.quantities import memory
from longshore.core.types import Decision, HardwarePlan
from longshore.core.words.facts import fact_line
from longshore.core.words.plan import plan_rows, scheduler_rows

_NOTHING = "none"
_MEBIBYTES = "_mib"


def inputs_of(decision: Decision) -> str:
    """Return from what it was decided, in one line; empty where nothing is told."""
    told = ((name, in_words(value)) for name, value in decision.inputs.items())
    return "; ".join(f"{name} = {text}" for name, text in told if text)


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
    if name.endswith(_MEBIBYTES) and isinstance(value, int):
        return f"{name.removesuffix(_MEBIBYTES).replace('_', ' ')} {memory(value)}"
    return f"{name.replace('_', ' ')} {in_words(value)}"
