"""Rules ``gpu-code`` and ``gpu-driver``: whether GPUs and their drivers run what is in an image."""

from collections.abc import Sequence

from longshore.core.gpus import Gpu, dotted, driver_of, lacking, targets_in_words
from longshore.core.types import GpuCode, HardwarePlan, NodeProfile
from longshore.hardware.rules.known import SURE, Known, listed, ruled


def gpu_code(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Fail where no GPU runs any package's code; warn where it does not run all of them."""
    found = code_of(known)
    if not plan.gpu_count or not found:
        return plan
    told = "; ".join(f"{each.owner}: {targets_in_words(each)}" for each in found)
    if not _is_sure(known):
        why = f"not all of the image was read, so other code for GPUs may be in it: {told}"
        return ruled(plan, "gpu-code", "unknown", told, warnings=[why])
    changes = {"gpu_code": found}
    gpus = [each for each in known.gpus if each[1].capability is not None]
    if not gpus:
        return ruled(
            plan, "gpu-code", "unknown", f"{told}; of no GPU its kind is known", changes=changes
        )
    there = _in_words(gpus)
    if len(gpus) == len(known.gpus) and not any(_runs_some(found, each) for _, each in gpus):
        return ruled(
            plan,
            "gpu-code",
            "fail",
            f"no GPU runs the code in the image: it is for {told}; the GPUs are {there}",
            hint="Take a build of these packages that is made for this GPU; a newer one may be.",
            changes=changes,
        )
    partly = {
        each.owner
        for _, gpu in gpus
        if gpu.capability and _runs_some(found, gpu)
        for each in lacking(found, gpu.capability)
    }
    warnings = [
        f"{listed(sorted(partly))} has no code for some of the GPUs that run the rest ({there})"
    ]
    evidence = f"{told}; GPUs: {there}"
    return ruled(
        plan, "gpu-code", "pass", evidence, warnings=warnings if partly else [], changes=changes
    )


def gpu_driver(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Fail where every node's driver is older than the image's CUDA needs."""
    fact = known.fact("min_driver")
    if not plan.gpu_count or fact is None or not isinstance(fact.value, int):
        return plan
    needs = f"driver {fact.value} or newer ({fact.source})"
    found = {node.node.name: driver_of(node) for node in known.candidates}
    told = listed([f"{name} has {has or 'an unknown one'}" for name, has in found.items()])
    evidence = f"{needs}; {told or 'no node has a GPU'}"
    changes = {"min_driver": fact.value} if fact.confidence in SURE else {}
    if any(has is not None and has >= fact.value for has in found.values()):
        return ruled(plan, "gpu-driver", "pass", evidence, changes=changes)
    if not found or None in found.values():
        return ruled(plan, "gpu-driver", "unknown", evidence, changes=changes)
    if not changes:
        why = f"no node's driver may be new enough: {evidence}"
        return ruled(plan, "gpu-driver", "unknown", evidence, warnings=[why])
    return ruled(
        plan,
        "gpu-driver",
        "fail",
        f"no node's driver is new enough: {evidence}",
        hint="Update the NVIDIA driver of the nodes, or build the image with an older CUDA.",
        changes=changes,
    )


def code_of(known: Known) -> tuple[GpuCode, ...]:
    """Return which code for GPUs is in the image, by its owner."""
    machine, ptx = _by_owner(known, "sm_sass"), _by_owner(known, "sm_ptx")
    return tuple(
        GpuCode(owner=owner, sass=machine.get(owner, ()), ptx=ptx.get(owner, ()))
        for owner in sorted(machine.keys() | ptx.keys())
    )


def _by_owner(known: Known, name: str) -> dict[str, tuple[str, ...]]:
    fact = known.fact(name)
    if fact is None or not isinstance(fact.value, dict):
        return {}
    return {
        owner: tuple(str(each) for each in held)
        for owner, held in fact.value.items()
        if isinstance(held, list)
    }


def _is_sure(known: Known) -> bool:
    return all(
        known.sure(name) is not None or known.fact(name) is None for name in ("sm_sass", "sm_ptx")
    )


def _runs_some(code: Sequence[GpuCode], gpu: Gpu) -> bool:
    return gpu.capability is None or len(lacking(code, gpu.capability)) < len(code)


def _in_words(gpus: Sequence[tuple[NodeProfile, Gpu]]) -> str:
    kinds = dict.fromkeys(
        f"{gpu.name or 'of compute capability'} {dotted(gpu.capability)}"
        for _, gpu in gpus
        if gpu.capability
    )
    return listed(list(kinds))
