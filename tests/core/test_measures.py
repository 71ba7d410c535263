"""What versions use, by replicas and GPUs; and what measures tell of a version."""

from datetime import timedelta
from typing import Any

import pytest
from examples_of import NOON, image

from longshore.core.measures import (
    GpuUse,
    GpuUses,
    Measured,
    ReplicaUse,
    facts_of,
    settings_of,
    usage_of,
)
from longshore.core.names import VersionKey
from longshore.core.types import Confidence, VersionSpec

MINE = frozenset({7, 8})


def gpu(used: int | None = 900, processes: Any = None, uuid: str = "A", unread: str = "") -> GpuUse:
    return GpuUse(uuid=uuid, used_mib=used, processes=processes, unread=unread)


def test_of_several_replicas_the_one_that_uses_most_counts() -> None:
    replicas = [ReplicaUse(memory_mib=mib) for mib in (5, 9, 7)]
    usage = usage_of([*replicas, ReplicaUse(unread="gone")], GpuUses())
    assert (usage.memory_mib, usage.memory_unread) == (9, "")
    assert (usage.gpu_memory_mib, usage.gpu_memory_unread) == (None, "")
    unknown = usage_of([ReplicaUse(unread="no group")], GpuUses())
    assert (unknown.memory_mib, unknown.memory_unread) == (None, "no group")


@pytest.mark.parametrize(
    ("processes", "there", "used", "why"),
    [
        # Told of each process.
        (MINE, gpu(900, {7: 500, 8: 100}), 600, ""),
        (MINE, gpu(900, {7: 500, 99: 300}), 500, ""),
        # Told of none, so it is the whole GPU, which it has alone.
        (MINE, gpu(900, {7: None}), 900, ""),
        (MINE, gpu(900, None, unread="not supported"), 900, "not supported"),
        (frozenset(), gpu(900, {1234: 500}), 900, ""),
        # Somebody else is on it, too.
        (MINE, gpu(900, {7: None, 99: 1}), None, "others use the GPU A, too"),
        # Nobody of it is: that is no measure of anything.
        (MINE, gpu(900, {99: 1}), None, "none of its processes uses the GPU A"),
        (MINE, gpu(900, {}), None, "none of its processes uses the GPU A"),
        (MINE, gpu(None, {7: None}, unread="it failed"), None, "it failed"),
    ],
)
def test_gpu_memory_is_that_of_its_processes_or_of_a_gpu_that_it_has_alone(
    processes: frozenset[int], there: GpuUse, used: int | None, why: str
) -> None:
    replica = ReplicaUse(gpus=("A",), processes=processes)
    usage = usage_of([replica], GpuUses(gpus=(there,)))
    assert usage.gpu_memory_mib == used
    assert usage.gpu_memory_unread.startswith(why if used is None else "")


def test_of_several_gpus_the_one_of_which_most_is_used_counts() -> None:
    replica = ReplicaUse(gpus=("A", "B"), processes=MINE)
    both = GpuUses(gpus=(gpu(uuid="A", processes={7: 3}), gpu(uuid="B", processes={8: 4})))
    assert usage_of([replica], both).gpu_memory_mib == 4
    one = GpuUses(gpus=both.gpus[:1], unread="NVML: GPU 1 is lost")
    assert usage_of([replica], one).gpu_memory_unread == (
        "how much of the GPU B is used is not known: NVML: GPU 1 is lost"
    )
    chosen = ReplicaUse(gpus_unread="the engine chose")
    assert usage_of([chosen], both).gpu_memory_unread == "the engine chose"


def measured(spec: VersionSpec, readings: int = 12, days: int = 0, **fields: Any) -> Measured:
    return Measured(
        digest=image().digest,
        settings=settings_of(spec),
        resources=spec.resources,
        version=VersionKey("iris", "1"),
        readings=readings,
        since=NOON,
        last_at=NOON + timedelta(days=days),
        **fields,
    )


def test_a_measure_is_exact_for_the_same_settings_and_a_hint_for_others() -> None:
    spec = VersionSpec(image="x", env={"A": "1"})
    renamed = VersionSpec.model_validate({"image": "y", "env": {"A": "1"}, "scaling": {"min": 0}})
    other = VersionSpec(image="x", env={"A": "2"})
    found = [measured(spec, memory_mib=100, days=2), measured(other, readings=1, memory_mib=300)]
    fact = facts_of(found, renamed)["memory_measured"]
    assert (fact.value, fact.confidence) == (100, Confidence.EXACT)
    assert fact.source == (
        "measured while iris:1 ran, 2026-01-01 to 2026-01-03, highest of 12 readings"
    )
    hint = facts_of(found, VersionSpec(image="x", command=("--large",)))["memory_measured"]
    assert (hint.value, hint.confidence) == (300, Confidence.INFERRED)
    assert hint.source == (
        "measured while iris:1 ran, 2026-01-01, highest of 1 reading, with other settings"
    )


def test_what_could_not_be_measured_is_no_fact() -> None:
    spec = VersionSpec(image="x")
    found = [measured(spec, memory_mib=100, gpu_memory_unread="no NVML")]
    assert facts_of(found, spec).keys() == {"memory_measured"}
    assert facts_of([], spec) == {}
