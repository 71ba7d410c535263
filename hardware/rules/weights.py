"""Rule ``gpu-memory``, and how much the weights in an image are."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.core.quantities import memories
from longshore.core.types import HardwarePlan
from longshore.hardware.rules.known import SURE, Known, ruled

_TENSORS = frozenset(
    {"safetensors", "gguf", "pytorch", "onnx", "tensorflow", "keras", "flax", "tensorrt"}
)
"""Formats of which the size on disk is about that in memory."""
_WITH_HEADER = frozenset({"safetensors", "gguf"})
"""Formats whose headers tell what is in them."""
_PART = re.compile(r"-[0-9]{5}-of-[0-9]{5}")
_SPLIT = re.compile(
    r"(?:^|\s)(?:--tensor-parallel-size|--tp-size|--tp_size|--tp|-tp|--pipeline-parallel-size"
    r"|-pp)(?:=|\s+)([0-9]{1,3})(?=\s|$)"
)
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that an image's model has at least, of all that lie in it."""

    mib: int
    sure: bool
    """Whether they were read from headers, in an image that was read completely."""
    where: str
    folder: str


def weights_of(known: Known) -> Weights | None:
    """Return the weights of the largest model in the image; None where none were found.

    The same weights may lie there in several formats, and several quantisations side by side, of
    which one is loaded: of what lies in one folder, the least counts.
    """
    fact = known.fact("weights")
    if fact is None or not isinstance(fact.value, list):
        return None
    sets: defaultdict[str, defaultdict[tuple[str, str], list[Any]]]
    sets = defaultdict(lambda: defaultdict(list))
    for each in fact.value:
        match each:
            case {"path": str(path), "format": str(kind), "bytes": int()} if kind in _TENSORS:
                folder, _, name = path.rpartition("/")
                # Each file of this format is a whole model, unless it is a part of one.
                alone = _PART.sub("", name) if kind == "gguf" else ""
                sets[folder][kind, alone].append(each)
    found = [
        min((_weigh(folder, files, fact.confidence in SURE) for files in kinds.values()), key=_size)
        for folder, kinds in sets.items()
    ]
    return max(found, key=_size, default=None)


def _size(weights: Weights) -> int:
    return weights.mib


def _weigh(folder: str, files: Sequence[Any], sure: bool) -> Weights:
    first = files[0]["format"]
    return Weights(
        mib=-(-sum(each["bytes"] for each in files) // _MIB),
        sure=sure and first in _WITH_HEADER and not any(each.get("problem") for each in files),
        where=f"{first} in /{folder}",
        folder=folder,
    )


def split_over(known: Known) -> int:
    """Return over how many GPUs the command says that weights are split; 1 where it does not."""
    number = 1
    for found in _SPLIT.finditer(" ".join(words_of(known))):
        number *= max(1, int(found[1]))
    return number


def words_of(known: Known) -> list[str]:
    """Return the words of the command that is run."""
    spec, config = known.spec, known.config
    return [*config.entrypoint, *(spec.command if spec.command is not None else config.cmd)]


def gpu_memory(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Ask for GPUs that hold the weights, or what the user says; fail where no GPU does."""
    if not plan.gpu_count:
        return plan
    weights, wish = weights_of(known), known.spec.resources.gpu_memory_mib
    parts = split_over(known)
    if weights is None and wish is None:
        why = "no weights are in the image; how much GPU memory it needs is unknown until measured"
        return ruled(plan, "gpu-memory", "unknown", why, warnings=[why])
    warnings = list(_conflicts(plan, weights, wish, parts))
    share = max(parts, plan.gpu_count)
    floor = wish if wish is not None else -(-weights.mib // share) if weights else None
    sure = wish is not None or (weights is not None and weights.sure)
    sizes = [gpu.memory_mib for _, gpu in known.gpus]
    largest = max((size for size in sizes if size is not None), default=None)
    asked, has, most = memories(wish, weights.mib if weights else None, largest)
    told = f"{asked} asked for" if asked else ""
    if weights:
        split = f", over {share} GPUs" if share > 1 else ""
        told = "; ".join(filter(None, [told, f"weights of {has}{split} ({weights.where})"]))
    changes = {"gpu_mem_floor_mib": floor if sure else None}
    if largest is None or floor is None:
        # The scheduler, or the engine, finds out.
        none = "the memory of no GPU is known" if sizes else "no node has a GPU"
        evidence = f"{told}; {none}"
        return ruled(plan, "gpu-memory", "unknown", evidence, warnings=warnings, changes=changes)
    evidence = f"{told}; the largest GPU has {most}"
    if floor <= largest or None in sizes:
        return ruled(plan, "gpu-memory", "pass", evidence, warnings=warnings, changes=changes)
    if not sure:
        warnings.append(f"it may not fit: {evidence}")
        return ruled(plan, "gpu-memory", "unknown", evidence, warnings=warnings, changes=changes)
    return ruled(
        plan,
        "gpu-memory",
        "fail",
        f"no GPU is large enough: {evidence}",
        hint="Split the model over several: --gpu 2, and --tensor-parallel-size 2 or the like in "
        "its command; or register a smaller or quantised one. Where it needs less than its "
        "weights say, --gpu-memory tells how much.",
        warnings=warnings,
        changes=changes,
    )


def _conflicts(
    plan: HardwarePlan, weights: Weights | None, wish: int | None, parts: int
) -> Iterator[str]:
    """Yield where the user's wish and the evidence differ; the wish wins."""
    if parts > plan.gpu_count:
        yield f"the command splits the model over {parts} GPUs, and it gets {plan.gpu_count}"
    if weights is None:
        return
    if plan.gpu_count > 1 and parts == 1:
        yield (
            f"it gets {plan.gpu_count} GPUs, and nothing in its command says that weights are "
            "split over them (--tensor-parallel-size)"
        )
    share = -(-weights.mib // max(parts, plan.gpu_count))
    if wish is not None and wish < share:
        asked, taken = memories(wish, share)
        yield (
            f"GPUs of {asked} were asked for, and the weights take {taken} of each "
            f"({weights.where})"
        )


def memory(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Warn where the weights are more than the memory that the user gives to a replica."""
    weights = weights_of(known)
    if weights is None or plan.gpu_count or plan.memory_mib is None:
        return plan
    limit, has = memories(plan.memory_mib, weights.mib)
    told = f"weights of {has} ({weights.where})"
    evidence = f"limit {limit}; {told}"
    if weights.mib < plan.memory_mib:
        return ruled(plan, "memory", "pass", evidence)
    why = f"the memory limit of {limit} may be too little for {told}"
    return ruled(plan, "memory", "unknown", evidence, warnings=[why])
