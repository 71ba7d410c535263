"""What an image leads to, as people read it: the plan, what the rules say, and where it fits."""

import re
from collections.abc import Iterator, Sequence

import click

from longshore.core.cli.node_facts import print_sources
from longshore.core.cli.output import say, table
from longshore.core.cli.text import one_line, size
from longshore.core.fitting import Fit, Prospect
from longshore.core.gpus import targets_in_words
from longshore.core.types import HardwarePlan, Requirement, Verdict

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
_CORE = 1000
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def print_prospect(found: Prospect, *, explain: bool) -> None:
    """Print it.

    Args:
        found: what an image leads to.
        explain: with what every rule and every plugin says, and where facts of nodes were read.
    """
    if found.plan is not None:
        say("")
        rows = _explained_rows(found.plan) if explain else _rows(found.plan)
        table(("PLAN", "VALUE"), list(rows), wrap=True)
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


def _rows(plan: HardwarePlan) -> Iterator[tuple[str, str]]:
    yield "processors", _processors(plan)
    yield "GPUs", _gpus(plan)
    if plan.gpu_code:
        code = "; ".join(f"{each.owner}: {targets_in_words(each)}" for each in plan.gpu_code)
        yield "GPU code", code
    if plan.min_driver:
        yield "NVIDIA driver", f"{plan.min_driver} or newer"
    yield "CPU", _cores(plan.cpu_millicores) if plan.cpu_millicores else "no limit"
    yield "memory", _mebibytes(plan.memory_mib) if plan.memory_mib else "no limit"
    if plan.threads:
        yield "threads", f"{plan.threads} in each worker process"
    if plan.env:
        yield "environment", ", ".join(f"{name}={value}" for name, value in plan.env.items())
    if plan.node_selector:
        yield "node labels", ", ".join(f"{label}={it}" for label, it in plan.node_selector.items())


def _explained_rows(plan: HardwarePlan) -> Iterator[tuple[str, str]]:
    """Yield what a cluster's scheduler is told, too."""
    yield from _rows(plan)
    for number, term in enumerate(plan.affinity):
        yield "or nodes with" if number else "nodes with", " and ".join(map(_required, term))
    if plan.preferred:
        yield "better with", ", ".join(map(_required, plan.preferred))
    if plan.tolerations:
        taints = ", ".join(f"{each.key}:{each.effect}" for each in plan.tolerations)
        yield "in spite of taints", taints


def _processors(plan: HardwarePlan) -> str:
    named = " or ".join(plan.architectures) or "any"
    level = f", level v{plan.cpu_level} of x86-64 or higher" if plan.cpu_level > 1 else ""
    return f"{named}{level}"


def _gpus(plan: HardwarePlan) -> str:
    if not plan.gpu_count:
        return "none"
    floor = plan.gpu_mem_floor_mib
    return f"{plan.gpu_count} of {_mebibytes(floor)} or more" if floor else str(plan.gpu_count)


def _required(of: Requirement) -> str:
    values = ", ".join(of.values)
    match of.operator:
        case "In":
            return f"{of.label}={values}" if len(of.values) == 1 else f"{of.label} in ({values})"
        case "NotIn":
            return f"{of.label} not in ({values})"
        case "Gt":
            return f"{of.label} > {values}"
        case "Lt":
            return f"{of.label} < {values}"
        case "Exists":
            return of.label
        case "DoesNotExist":
            return f"no {of.label}"


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
        rows.append((each.rule, each.outcome, _shortened(why)))
        if each.hint:
            rows.append(("", "hint", each.hint))
    rows += [(_NOTHING, "warning", _shortened(told)) for told in warnings]
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
    why = "; ".join(_shortened(each.why) for each in fit.reasons)
    score = _NOTHING if fit.score is None else f"{fit.score:g}"
    return fit.node.node.name, fit.verdict, score, why


def _explain_fit(fit: Fit) -> None:
    name = click.style(one_line(fit.node.node.name), bold=True)
    say(f"{name}: {_coloured(fit.verdict)}")
    for each in fit.reasons:
        by = f"{one_line(each.by)}: " if each.by else ""
        say(f"    {by}{one_line(each.why)}")
    if fit.scores is not None:
        told = ", ".join(f"{plugin} {score:g}" for plugin, score in fit.scores.items())
        say(f"    score {fit.score:g}: {one_line(told) or 'no plugin scores'}")
    print_sources(fit.node.facts, _PLACED_BY, indent=4)


def _in_all(fits: Sequence[Fit]) -> str:
    if not fits:
        return "There is no node to run it on."
    number = {name: sum(each.verdict == name for each in fits) for name in _BEST_FIRST}
    unknown = f"; whether on {number['unknown']} more is not known" if number["unknown"] else ""
    return f"It fits on {number['fits']} of {len(fits)} nodes{unknown}."


def _coloured(word: str) -> str:
    return click.style(word, fg=_COLOURS[word])


def _shortened(text: str) -> str:
    """Return text with digests that can be told apart still, and read past."""
    return _DIGEST.sub(r"\1…", text)


def _cores(millicores: int) -> str:
    return f"{millicores / 1000:g} core{'s' * (millicores != _CORE)}"


def _mebibytes(value: int) -> str:
    return size(value << 20)
