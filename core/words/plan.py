"""A version's hardware plan: in two lines, what it gets and where, and why; and in rows."""

from collections.abc import Iterator

from longshore.core.gpus import targets_in_words
from longshore.core.quantities import cores, memories, memory
from longshore.core.types import HardwarePlan, Placement, Requirement, Verdict
from longshore.core.words.text import short_digests

_MOST_NODES = 3


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
        yield f"{gpus} of {memory(floor)} or more" if floor else gpus
        if used := uses(plan.gpu_mem_estimate_mib, plan.gpu_mem_measured_mib):
            yield f"GPU memory {used}"
    else:
        yield "no GPU"
    yield cores(plan.cpu_millicores) if plan.cpu_millicores else "no CPU limit"
    if plan.threads:
        yield f"{plan.threads} thread{'s' * (plan.threads > 1)} per worker"
    yield f"{memory(plan.memory_mib)} memory" if plan.memory_mib else "no memory limit"
    if used := uses(plan.memory_estimate_mib, plan.memory_measured_mib):
        yield f"memory {used}"


def uses(estimated: int | None, measured: int | None) -> str:
    """Return what it uses: ``estimated 1.2 GiB; measured 1.4 GiB``; empty where unknown."""
    known = zip(("estimated", "measured"), memories(estimated, measured), strict=True)
    return "; ".join(f"{how} {told}" for how, told in known if told)


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
    return f"{verdict.rule}{mark} ({short_digests(verdict.evidence)})"


def plan_rows(plan: HardwarePlan) -> Iterator[tuple[str, str]]:
    """Yield what a plan decides: each thing, and what of it."""
    yield "processors", _processors(plan)
    yield "GPUs", _gpu_row(plan)
    if plan.gpu_code:
        code = "; ".join(f"{each.owner}: {targets_in_words(each)}" for each in plan.gpu_code)
        yield "GPU code", code
    if plan.min_driver:
        yield "NVIDIA driver", f"{plan.min_driver} or newer"
    yield "CPU", cores(plan.cpu_millicores) if plan.cpu_millicores else "no limit"
    yield "memory", memory(plan.memory_mib) if plan.memory_mib else "no limit"
    if used := uses(plan.memory_estimate_mib, plan.memory_measured_mib):
        yield "memory used", used
    if used := uses(plan.gpu_mem_estimate_mib, plan.gpu_mem_measured_mib):
        yield "GPU memory used", f"{used} of each"
    if plan.threads:
        yield "threads", f"{plan.threads} in each worker process"
    if plan.env:
        yield "environment", ", ".join(f"{name}={value}" for name, value in plan.env.items())
    if plan.node_selector:
        yield "node labels", ", ".join(f"{label}={it}" for label, it in plan.node_selector.items())


def scheduler_rows(plan: HardwarePlan) -> Iterator[tuple[str, str]]:
    """Yield what a cluster's scheduler is told of it."""
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


def _gpu_row(plan: HardwarePlan) -> str:
    if not plan.gpu_count:
        return "none"
    floor = plan.gpu_mem_floor_mib
    return f"{plan.gpu_count} of {memory(floor)} or more" if floor else str(plan.gpu_count)


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
