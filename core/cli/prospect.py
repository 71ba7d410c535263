"""What an image leads to, as people read it: the plan, what the rules say, and where it fits."""

from collections.abc import Sequence

import click

from longshore.core.cli.node_facts import print_sources
from longshore.core.cli.output import say, table
from longshore.core.fitting import Fit, Prospect
from longshore.core.types import HardwarePlan, Verdict
from longshore.core.words.plan import plan_rows, scheduler_rows
from longshore.core.words.text import one_line, short_digests

_COLOURS = {
    "pass": "green",
    "fail": "red",
    "unknown": "yellow",
    "warning": "yellow",
    "fits": "green",
    "does not fit": "red",
}
_WORST_FIRST = ("fail", "unknown", "pass")
_BEST_FIRST = ("fits", "unknown", "does not fit")
_PLACED_BY = ("cpu_architecture", "cpu_level", "memory_mib", "driver", "gpus", "numa")
"""The facts about a node that the built-in plugins go by."""
_NOTHING = "-"


def print_prospect(found: Prospect, *, explain: bool) -> None:
    """Print it.

    Args:
        found: what an image leads to.
        explain: with what every rule and every plugin says, and where facts of nodes were read.
    """
    if found.plan is not None:
        say("")
        rows = [*plan_rows(found.plan), *(scheduler_rows(found.plan) if explain else ())]
        table(("PLAN", "VALUE"), rows, wrap=True)
        say("")
        _explain_rules(found.plan) if explain else _rules(found.plan)
    fits = sorted(found.fits, key=_rank)
    if explain:
        for each in fits:
            say("")
            _explain_fit(each)
    elif fits:
        say("")
        cells = [_fit(each) for each in fits]
        table(("NODE", "VERDICT", "SCORE", "WHY"), cells, colours=_COLOURS, wrap=True)
    if len(fits) != 1:
        say(f"\n{_in_all(fits)}")


def _rules(plan: HardwarePlan) -> None:
    """Print what fails, what is not known, and warnings; each thing once."""
    warnings = list(plan.warnings)
    rows: list[tuple[str, str, str]] = []
    for each in _worst_first(plan):
        if each.outcome == "pass":
            continue
        # A warning says the same, and more.
        fuller = [told for told in warnings if each.evidence and each.evidence in told]
        warnings = [told for told in warnings if told not in fuller]
        why = max([each.evidence, *fuller], key=len)
        rows.append((each.rule, each.outcome, short_digests(why)))
        if each.hint:
            rows.append(("", "hint", each.hint))
    rows += [(_NOTHING, "warning", short_digests(told)) for told in warnings]
    if rows:
        table(("RULE", "OUTCOME", "WHY"), rows, colours=_COLOURS, wrap=True)
    passed = [each.rule for each in plan.verdicts if each.outcome == "pass"]
    if passed:
        say(f"Passed: {one_line(', '.join(passed))}. --explain tells why.")
    elif not rows:
        say("No rule had anything to say.")


def _explain_rules(plan: HardwarePlan) -> None:
    for each in _worst_first(plan):
        say(f"{click.style(one_line(each.rule), bold=True)}: {_coloured(each.outcome)}")
        say(f"    {one_line(each.evidence)}")
        if each.hint:
            say(f"    Hint: {one_line(each.hint)}")
    evidence = {each.evidence for each in plan.verdicts}
    for told in (each for each in plan.warnings if each not in evidence):
        say(f"{_coloured('warning')}: {one_line(told)}")


def _worst_first(plan: HardwarePlan) -> list[Verdict]:
    return sorted(plan.verdicts, key=lambda each: _WORST_FIRST.index(each.outcome))


def _rank(fit: Fit) -> tuple[int, float]:
    return _BEST_FIRST.index(fit.verdict), -(fit.score or 0)


def _fit(fit: Fit) -> tuple[str, ...]:
    why = "; ".join(short_digests(each.why) for each in fit.reasons)
    score = _NOTHING if fit.score is None else f"{fit.score:.0f}"
    return fit.node.node.name, fit.verdict, score, why


def _explain_fit(fit: Fit) -> None:
    name = click.style(one_line(fit.node.node.name), bold=True)
    say(f"{name}: {_coloured(fit.verdict)}")
    for each in fit.reasons:
        by = f"{one_line(each.by)}: " if each.by else ""
        say(f"    {by}{one_line(each.why)}")
    if fit.scores is not None:
        told = ", ".join(f"{plugin} {score:.3g}" for plugin, score in fit.scores.items())
        say(f"    score {fit.score:.0f}: {one_line(told) or 'no plugin scores'}")
    print_sources(fit.node.facts, _PLACED_BY, indent=4)


def _in_all(fits: Sequence[Fit]) -> str:
    if not fits:
        return "There is no node to run it on."
    number = {name: sum(each.verdict == name for each in fits) for name in _BEST_FIRST}
    unknown = f"; whether on {number['unknown']} more is not known" if number["unknown"] else ""
    return f"It fits on {number['fits']} of {len(fits)} nodes{unknown}."


def _coloured(word: str) -> str:
    return click.style(word, fg=_COLOURS[word])
