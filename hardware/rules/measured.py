"""Rules ``measured-memory`` and ``measured-gpu-memory``: what was measured replaces estimates.

They go by the plan alone, besides, so that a plan can follow what was measured after it was made.
"""

from collections.abc import Mapping

from longshore.core.measures import GPU_MEMORY, MEMORY
from longshore.core.quantities import memories
from longshore.core.types import Evidence, HardwarePlan, VersionSpec
from longshore.hardware.rules.affinity import terms
from longshore.hardware.rules.known import SURE, Known, ruled

MEMORY_RULE, GPU_RULE = "measured-memory", "measured-gpu-memory"
CLOSE = 0.9
"""A limit of which more than this part was used is close to it."""

_MARK = "measured: "
"""How warnings begin that are told here."""
_FLOOR_RULE = "gpu-memory"


def measured(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Let a plan that is made go by what was measured of its image."""
    sizes = [gpu.memory_mib for _, gpu in known.gpus]
    largest = None if None in sizes else max((each for each in sizes if each), default=None)
    return _of_gpus(_of_memory(plan, known.profile.facts), known.spec, known.profile.facts, largest)


def follow(plan: HardwarePlan, spec: VersionSpec, facts: Mapping[str, Evidence]) -> HardwarePlan:
    """Let a plan that was made before go by what was measured since."""
    told_before = {MEMORY_RULE, GPU_RULE}
    bare = plan.model_copy(
        update={
            "verdicts": tuple(each for each in plan.verdicts if each.rule not in told_before),
            "warnings": tuple(each for each in plan.warnings if not each.startswith(_MARK)),
        }
    )
    made = _of_gpus(_of_memory(bare, facts), spec, facts, None)
    if made.gpu_mem_floor_mib != plan.gpu_mem_floor_mib:
        made = made.model_copy(update={"affinity": terms(made)})
    return made


def _of_memory(plan: HardwarePlan, facts: Mapping[str, Evidence]) -> HardwarePlan:
    """Tell what a replica used, and warn where its limit is not much more or less."""
    fact = facts.get(MEMORY)
    if fact is None or not isinstance(fact.value, int):
        return plan
    used, limit = fact.value, plan.memory_mib
    use, most, estimated = memories(used, limit, plan.memory_estimate_mib)
    told = f"{use}, {fact.source}"
    told += f"; estimated {estimated}" if estimated else ""
    changes = {"memory_measured_mib": used}
    if limit is None or used <= limit * CLOSE:
        told += f"; limit {most}" if most else ""
        return ruled(plan, MEMORY_RULE, "pass", told, changes=changes)
    where = "below" if used > limit else "close to"
    why = f"{_MARK}the memory limit of {most} is {where} what a replica used: {told}"
    return ruled(plan, MEMORY_RULE, "unknown", told, warnings=[why], changes=changes)


def _of_gpus(
    plan: HardwarePlan, spec: VersionSpec, facts: Mapping[str, Evidence], largest: int | None
) -> HardwarePlan:
    """Ask for GPUs that hold what was measured, unless the user says how large they are to be."""
    fact = facts.get(GPU_MEMORY)
    if not plan.gpu_count or fact is None or not isinstance(fact.value, int):
        return plan
    used, wish = fact.value, spec.resources.gpu_memory_mib
    use, estimated, asked, most = memories(used, plan.gpu_mem_estimate_mib, wish, largest)
    told = f"{use} of each GPU, {fact.source}"
    told += f"; estimated {estimated}" if estimated else ""
    changes = {"gpu_mem_measured_mib": used}
    if plan.gpu_mem_takes_all:
        told += f"; {plan.gpu_mem_takes_all} takes a share of any GPU, so less may do"
        return ruled(plan, GPU_RULE, "pass", told, changes=changes)
    if wish is not None:
        if wish >= used:
            return ruled(plan, GPU_RULE, "pass", f"{told}; {asked} asked for", changes=changes)
        why = f"{_MARK}GPUs of {asked} were asked for, and a replica used {told}"
        return ruled(plan, GPU_RULE, "unknown", told, warnings=[why], changes=changes)
    too_large = f"{told}; the largest GPU has {most}" if largest and used > largest else ""
    return _floor(plan, told, used, too_large, sure=fact.confidence in SURE)


def _floor(plan: HardwarePlan, told: str, used: int, too_large: str, *, sure: bool) -> HardwarePlan:
    """Ask for as much of each GPU as was used, if it ran with the same settings.

    Args:
        plan: the plan.
        told: what was used.
        used: the same in mebibytes.
        too_large: what was used and is there, where no GPU has as much; empty where one has.
        sure: whether it ran with the same settings.
    """
    changes = {"gpu_mem_measured_mib": used}
    fits = not too_large
    if not sure:
        if fits:
            return ruled(plan, GPU_RULE, "pass", told, changes=changes)
        why = f"{_MARK}it may not fit: {too_large}"
        return ruled(plan, GPU_RULE, "unknown", too_large, warnings=[why], changes=changes)
    changes["gpu_mem_floor_mib"] = used
    # What the weights were thought to need does not matter any more.
    verdicts = tuple(each for each in plan.verdicts if each.rule != _FLOOR_RULE)
    plan = plan.model_copy(update={"verdicts": verdicts})
    if fits:
        return ruled(plan, GPU_RULE, "pass", told, changes=changes)
    return ruled(
        plan,
        GPU_RULE,
        "fail",
        f"no GPU is large enough: {too_large}",
        hint="Split the model over several: --gpu 2, and --tensor-parallel-size 2 or the like in "
        "its command. Where it makes do with less, --gpu-memory tells how much.",
        changes=changes,
    )
