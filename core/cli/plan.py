"""A version's hardware plan in two lines: what it gets and where, and why."""

from collections.abc import Iterator

from longshore.core.cli.client import Client
from longshore.core.cli.output import say, tell
from longshore.core.cli.problems import Problem
from longshore.core.cli.text import one_line
from longshore.core.cli.waiting import busy
from longshore.core.names import VersionKey
from longshore.core.types import HardwarePlan, Placement, Verdict, VersionSpec

_MOST_NODES = 3


def show_brief(client: Client, key: VersionKey, spec: VersionSpec, *, force: bool) -> None:
    """Print what registering would plan, in two lines; where it would be refused, print that, too.

    Raises:
        Problem: it would be refused.
    """
    refusal = None
    with busy(f"{key}: reading the image and planning"):
        try:
            version, _ = client.preflight(key, spec, force=force)
        except Problem as problem:
            # Of the same wish, as it would be for a node that is yet to come.
            refusal = problem
            version, _ = client.preflight(key, spec, force=True)
    for line in plan_lines(version.placement):
        say(one_line(line))
    for warning in version.placement.plan.warnings:
        tell(f"Warning: {one_line(warning)}")
    if refusal is not None:
        raise refusal


def plan_lines(placement: Placement) -> tuple[str, str]:
    """Return what a version gets and where it may run, and what decided it."""
    plan = placement.plan
    return (
        f"Plan: {', '.join(_gets(plan))}; on {_where(plan)}; {_nodes(placement)}",
        f"Why: {'; '.join(_why(plan)) or 'no rule had anything to say'}",
    )


def _gets(plan: HardwarePlan) -> Iterator[str]:
    if plan.gpu_count:
        gpus = f"{plan.gpu_count} GPU{'s' * (plan.gpu_count > 1)}"
        floor = plan.gpu_mem_floor_mib
        yield f"{gpus} of {floor} MiB or more" if floor else gpus
    else:
        yield "no GPU"
    yield f"{plan.cpu_millicores}m CPU" if plan.cpu_millicores else "no CPU limit"
    if plan.threads:
        yield f"{plan.threads} thread{'s' * (plan.threads > 1)} per worker"
    yield f"{plan.memory_mib} MiB memory" if plan.memory_mib else "no memory limit"


def _where(plan: HardwarePlan) -> str:
    labels = [f"{name}={value}" for name, value in plan.node_selector.items()]
    return ", ".join([" or ".join(plan.architectures) or "any architecture", *labels])


def _nodes(placement: Placement) -> str:
    names = [each.name for each in placement.nodes]
    if not names:
        return f"no node of {placement.backend} fits"
    more = f" and {len(names) - _MOST_NODES} more" if len(names) > _MOST_NODES else ""
    return f"fits {', '.join(names[:_MOST_NODES])}{more} ({placement.backend})"


def _why(plan: HardwarePlan) -> Iterator[str]:
    """Yield what decided: first what fails, then what is not known, then the rest."""
    worst_first = ("fail", "unknown", "pass")
    for each in sorted(plan.verdicts, key=lambda verdict: worst_first.index(verdict.outcome)):
        yield _said(each)


def _said(verdict: Verdict) -> str:
    mark = "" if verdict.outcome == "pass" else f" {verdict.outcome}"
    return f"{verdict.rule}{mark} ({verdict.evidence})"
