"""Decisions as people read them: whose each was, what came of it, from what, and why."""

from collections.abc import Iterator, Mapping, Sequence

import click
from pydantic import JsonValue, ValidationError

from longshore.core.cli.facts import fact_line
from longshore.core.cli.output import say
from longshore.core.cli.plan import plan_rows, scheduler_rows
from longshore.core.cli.text import one_line, short_digests
from longshore.core.types import Decision, HardwarePlan

_NOTHING = "none"
_MEBIBYTES = "_mib"


def print_decisions(decisions: Sequence[Decision]) -> None:
    """Print decisions in their order: the hook, whose answer it was, the outcome, and why."""
    for number, each in enumerate(decisions, start=1):
        say(f"{number:2}. {click.style(one_line(each.hook), bold=True)} by {one_line(each.plugin)}")
        for line in _outcome(each):
            say(f"    {one_line(line)}")
        told = ((name, in_words(value)) for name, value in each.inputs.items())
        if inputs := "; ".join(f"{name} = {text}" for name, text in told if text):
            say(f"    from: {one_line(inputs)}")
        if each.why:
            say(f"    why: {one_line(short_digests(each.why))}")


def _outcome(decision: Decision) -> Iterator[str]:
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
    if name.endswith(_MEBIBYTES):
        return f"{name.removesuffix(_MEBIBYTES).replace('_', ' ')} {in_words(value)} MiB"
    return f"{name.replace('_', ' ')} {in_words(value)}"
