"""What versions were measured to use while they ran; from then on it replaces what was estimated.

A measure is of an image's bytes and of all settings that its use may depend on. Of others of the
same image it tells something, too, but nothing that could refuse one.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from longshore.core.names import VersionKey
from longshore.core.quantities import memory
from longshore.core.types import (
    Confidence,
    Decision,
    Digest,
    Evidence,
    HardwarePlan,
    Resources,
    Value,
    Version,
    VersionSpec,
)

MEMORY, GPU_MEMORY = "memory_measured", "gpu_memory_measured"
"""The facts of an image that plans go by, in MiB: of one replica, and of each of its GPUs."""


class GpuUse(Value):
    """How much of one GPU, or of a slice of one, is in use now."""

    uuid: str
    used_mib: int | None = None
    """By all of its processes, and by the driver itself."""
    processes: Mapping[int, int | None] | None = None
    """What each process on it uses, in MiB; None where that, or which there are, is not told."""
    unread: str = ""
    """Why something is None."""


class GpuUses(Value):
    """What is known of all GPUs of a machine."""

    gpus: tuple[GpuUse, ...] = ()
    unread: str = ""
    """Why of those that are not among them nothing is known."""


class ReplicaUse(Value):
    """What one replica uses now."""

    memory_mib: int | None = None
    """Without what the kernel only caches of files."""
    unread: str = ""
    """Why that is not known."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that it has, and nobody else."""
    processes: frozenset[int] = frozenset()
    """Its processes, as the machine that Longshore runs on counts them; empty if not known."""
    gpus_unread: str = ""
    """Why it cannot be told which of them are its, where it has GPUs."""


class Usage(Value):
    """What one replica of a version uses, by the one that uses most."""

    memory_mib: int | None = None
    memory_unread: str = ""
    gpu_memory_mib: int | None = None
    """Of each of its GPUs, by the one of which it is most."""
    gpu_memory_unread: str = ""
    """Why it is not known; empty also where it has no GPU."""


class Measured(Value):
    """What is known by measuring of an image with certain settings."""

    digest: Digest
    settings: str
    """What else its use may depend on, as ``settings_of`` returns it."""
    resources: Resources
    """The same, as far as people know it by that."""
    version: VersionKey
    """The last one that ran with it."""
    memory_mib: int | None = None
    """The most that a replica used."""
    memory_unread: str = ""
    """Why it is not known."""
    gpu_memory_mib: int | None = None
    """The most that it used of one of its GPUs."""
    gpu_memory_unread: str = ""
    readings: int = 1
    since: datetime
    last_at: datetime


@runtime_checkable
class Measures(Protocol):
    """A backend that can tell what replicas use; it is a ``Backend`` besides."""

    async def measured(
        self, keys: Sequence[VersionKey]
    ) -> Mapping[VersionKey, Sequence[ReplicaUse]]:
        """Return what the ready replicas of these versions use now; those without any are left out.

        It must be cheap: it is asked every half a minute.

        Raises:
            Unavailable: the engine does not answer.
        """


@runtime_checkable
class RemembersMeasures(Protocol):
    """A registry that remembers what was measured; it is a ``Registry`` besides.

    Without it, plans go by estimates. Each method may raise ``Unavailable``.
    """

    async def add_measures(self, found: Sequence[Measured]) -> None:
        """Join these to what is known: of each the higher one counts, and readings are added up.

        What was not measured for longest may be forgotten, beyond the newest 10,000.
        """

    async def measures(self, digest: str | None = None) -> Sequence[Measured]:
        """Return what was measured, of one image or of all; the newest first."""

    async def save_plan(self, version: Version, plan: HardwarePlan, *, asleep: bool) -> bool:
        """Replace a version's hardware plan.

        Args:
            version: as it was read; its placement says on which nodes from now on.
            plan: instead of the one that it has.
            asleep: only if it is to sleep, by its wish.

        Returns:
            Whether it was replaced.
        """


Known = Callable[[str], Awaitable[Sequence[Measured]]]
"""Tells what was measured of an image, by its digest."""


async def nothing_known(_: str) -> Sequence[Measured]:
    """Return what is known where nobody remembers."""
    return ()


def known_by(registry: object) -> Known:
    """Return who tells what a registry remembers."""
    return registry.measures if isinstance(registry, RemembersMeasures) else nothing_known


def settings_of(spec: VersionSpec) -> str:
    """Return a digest over all settings that a replica's use may depend on."""
    told = spec.model_dump(mode="json", include={"resources", "command", "env"})
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def usage_of(replicas: Sequence[ReplicaUse], gpus: GpuUses) -> Usage:
    """Return what a version uses, by its replicas and by what is known of GPUs."""
    memory = [each.memory_mib for each in replicas if each.memory_mib is not None]
    told = [_of_gpus(each, gpus) for each in replicas if each.gpus or each.gpus_unread]
    found = [most for most, _ in told if most is not None]
    return Usage(
        memory_mib=max(memory, default=None),
        memory_unread="" if memory else _first(each.unread for each in replicas),
        gpu_memory_mib=max(found, default=None),
        gpu_memory_unread="" if found else _first(why for _, why in told),
    )


def _of_gpus(replica: ReplicaUse, gpus: GpuUses) -> tuple[int | None, str]:
    """Return how much a replica uses of that of its GPUs of which it uses most; or why not."""
    if replica.gpus_unread:
        return None, replica.gpus_unread
    there = {each.uuid: each for each in gpus.gpus}
    most = 0
    for uuid in replica.gpus:
        if uuid not in there:
            why = gpus.unread or "nobody tells of it"
            return None, f"how much of the GPU {uuid} is used is not known: {why}"
        used, why = _of_one(replica.processes, there[uuid])
        if used is None:
            return None, why
        most = max(most, used)
    return most, ""


def _of_one(mine: frozenset[int], gpu: GpuUse) -> tuple[int | None, str]:
    """Return how much a replica's processes use of a GPU that it has alone; or why it is unknown.

    Where that is not told of each, it is what is used of the GPU as a whole, unless somebody else
    is on it.
    """
    whole = gpu.used_mib, gpu.unread
    if gpu.processes is None:
        return whole
    if not gpu.processes or (mine and not mine & gpu.processes.keys()):
        # Zero would be taken for all that it needs.
        return None, f"none of its processes uses the GPU {gpu.uuid}"
    told = [used for pid, used in gpu.processes.items() if pid in mine]
    known = [used for used in told if used is not None]
    if told and len(known) == len(told):
        return sum(known), ""
    if mine and gpu.processes.keys() - mine:
        return None, f"others use the GPU {gpu.uuid}, too, and it is not told who uses how much"
    return whole


def _first(reasons: Iterable[str]) -> str:
    return next((each for each in reasons if each), "")


def joined(before: Measured, found: Measured) -> Measured:
    """Return what two measures of the same tell together."""
    memory = _highest(before.memory_mib, found.memory_mib)
    gpu_memory = _highest(before.gpu_memory_mib, found.gpu_memory_mib)
    return found.model_copy(
        update={
            "memory_mib": memory,
            "memory_unread": "" if memory is not None else found.memory_unread,
            "gpu_memory_mib": gpu_memory,
            "gpu_memory_unread": "" if gpu_memory is not None else found.gpu_memory_unread,
            "readings": before.readings + found.readings,
            "since": min(before.since, found.since),
            "last_at": max(before.last_at, found.last_at),
        }
    )


def _highest(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


def facts_of(found: Sequence[Measured], spec: VersionSpec) -> dict[str, Evidence]:
    """Return the facts that measures of an image tell of a version: exact where all is alike.

    Args:
        found: of its image.
        spec: what the user asked for.
    """
    alike = [each for each in found if each.settings == settings_of(spec)]
    facts = {}
    for name, field in ((MEMORY, "memory_mib"), (GPU_MEMORY, "gpu_memory_mib")):
        same = [each for each in alike if getattr(each, field) is not None]
        other = [each for each in found if getattr(each, field) is not None]
        best = max(same or other, key=lambda each: int(getattr(each, field)), default=None)
        if best is not None:
            facts[name] = Evidence(
                value=getattr(best, field),
                source=_source(best) + ("" if same else ", with other settings"),
                confidence=Confidence.EXACT if same else Confidence.INFERRED,
            )
    return facts


def _source(measured: Measured) -> str:
    readings = f"{measured.readings} reading{'s' * (measured.readings > 1)}"
    first, last = measured.since.date(), measured.last_at.date()
    when = f"{last}" if first == last else f"{first} to {last}"
    return f"measured while {measured.version} ran, {when}, highest of {readings}"


def noted(plan: HardwarePlan, facts: Mapping[str, Evidence]) -> HardwarePlan:
    """Return a plan that tells what was measured, and is the same otherwise."""
    return plan.model_copy(
        update={
            "memory_measured_mib": _number(facts.get(MEMORY)),
            "gpu_mem_measured_mib": _number(facts.get(GPU_MEMORY)),
        }
    )


def decided(
    before: HardwarePlan, plan: HardwarePlan, facts: Mapping[str, Evidence], plugin: str
) -> Sequence[Decision]:
    """Return what was decided about a plan by measures; nothing where they tell nothing new."""
    told = {name: (getattr(before, name), getattr(plan, name)) for name in _TOLD}
    if all(one == other for one, other in told.values()):
        return ()
    return (
        Decision(
            hook="longshore_replan_hardware",
            plugin=plugin,
            outcome={name: now for name, (_, now) in told.items()},
            inputs={name: was for name, (was, _) in told.items()},
            why="; ".join(f"{_amount(fact)}: {fact.source}" for fact in facts.values()),
        ),
    )


_TOLD = ("memory_measured_mib", "gpu_mem_measured_mib", "gpu_mem_floor_mib")


def _amount(fact: Evidence) -> str:
    number = _number(fact)
    return str(fact.value) if number is None else memory(number)


def _number(fact: Evidence | None) -> int | None:
    return fact.value if fact is not None and isinstance(fact.value, int) else None
