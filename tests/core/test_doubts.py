"""What is not known of a node and matters: each thing, where it matters and where it does not."""

from typing import Any

import pytest
from parts.hardware import EXACT, INFERRED, T4, labelled, node, profile

from longshore.core.doubts import doubts, granted
from longshore.core.types import Confidence, Evidence, GpuCode, HardwarePlan, NodeProfile
from longshore.core.types import VersionSpec as Spec

AMD64 = {"architectures": ("amd64",)}
NO_NEED = {"gpu_need": ("none", INFERRED)}
REQUIRED = {"gpu_need": ("required", INFERRED)}
CODE = (GpuCode(owner="torch", sass=("75",)),)


def told(
    there: NodeProfile,
    facts: Any = NO_NEED,
    resources: Any = None,
    platforms: Any = ("linux/amd64",),
    **plan: Any,
) -> tuple[str, ...]:
    asked = {"image": "localhost:5001/iris:1", "resources": resources or {}}
    spec = Spec.model_validate(asked)
    return doubts(
        spec, profile(facts, platforms=platforms), HardwarePlan(**{**AMD64, **plan}), there
    )


def dark(name: str, **labels: str) -> NodeProfile:
    """Return a node of which one fact is not known, and why."""
    unknown = Evidence(value=None, source="no driver answers", confidence=Confidence.UNKNOWN)
    return node(labels=labels).model_copy(update={"facts": {name: unknown}})


def test_what_needs_nothing_special_leaves_no_doubt() -> None:
    assert told(dark("gpus")) == ()
    assert told(dark("cpu_level")) == ()
    assert told(node(T4), gpu_count=1) == ()
    assert told(node(T4), gpu_count=1, gpu_mem_floor_mib=15000, gpu_code=CODE, min_driver=580) == ()


def test_an_image_that_does_not_say_its_processors() -> None:
    assert told(node(), platforms=(), architectures=()) == (
        "the image does not say for which processors it is built",
    )


def test_a_plugins_plan_that_does_not_say_its_processors() -> None:
    assert told(node(), architectures=()) == ("the plan does not say which processors will do",)


@pytest.mark.parametrize(
    ("there", "doubt"),
    [
        (dark("cpu_level"), True),
        (node(cpu_level="v2"), True),
        (node(cpu_level="v3"), False),
        (node(architecture="arm64"), False),
    ],
)
def test_the_level_of_processors(there: NodeProfile, doubt: bool) -> None:
    [*found] = told(there, cpu_level=3)
    assert bool(found) is doubt
    assert all("may be below amd64/v3" in each for each in found)


def test_how_many_gpus_there_are() -> None:
    assert told(dark("gpus"), gpu_count=1) == ("which GPUs it has is not known: no driver answers",)
    assert told(node(), gpu_count=1) == ("which GPUs it has is not known: no plugin tells",)
    # A cluster counts for itself.
    in_a_cluster = {"kubernetes.io/arch": "amd64"}
    assert told(dark("gpus", **in_a_cluster), gpu_count=1) == ()
    assert told(labelled(gpus=2), gpu_count=2) == ()


def test_gpus_of_unknown_kind_where_the_kind_matters() -> None:
    there = labelled(gpus=1)
    assert told(there, gpu_count=1, gpu_mem_floor_mib=9000) == (
        "the memory of its GPUs is not known, and 8.8 GiB of each are needed: no plugin tells",
    )
    assert told(there, gpu_count=1, gpu_code=CODE) == (
        "whether its GPUs run the image's code is not known: no plugin tells",
    )
    assert told(there, gpu_count=1, min_driver=580) == (
        "its NVIDIA driver is not known, and 580 or newer is needed: no plugin tells",
    )


def test_what_has_one_reason_is_one_sentence() -> None:
    wanted = {"gpu_mem_floor_mib": 9000, "gpu_code": CODE, "min_driver": 580}
    [only] = told(labelled(gpus=1), gpu_count=1, **wanted)
    memory, code, driver = only.split("; ")
    assert memory == "the memory of its GPUs is not known, and 8.8 GiB of each are needed"
    assert code == "whether its GPUs run the image's code is not known"
    assert driver.endswith("is not known, and 580 or newer is needed: no plugin tells")


def test_one_of_two_gpus_that_is_known_to_do_is_enough_for_one() -> None:
    gpu = {"name": "T4", "memory_total_mib": 15360, "compute_capability": "7.5"}
    lost = {"name": "T4", "unread": {"memory_total_mib": "it fell off the bus"}}
    there = node(gpus=[gpu, lost])
    wanted = {"gpu_mem_floor_mib": 15000, "gpu_code": CODE}
    assert told(there, gpu_count=1, **wanted) == ()
    first, second = told(there, gpu_count=2, **wanted)
    assert first.endswith("are needed: it fell off the bus")
    assert "run the image's code" in second
    # What is known to be wrong is the filters' business.
    assert told(node(T4), gpu_count=1, gpu_mem_floor_mib=20000) == ()


def test_an_image_whose_need_is_not_known_or_not_met() -> None:
    not_known = ("whether the image needs a GPU is not known, and it would be tried without",)
    unknown = {"gpu_need": ("unknown", Confidence.UNKNOWN)}
    assert told(node(), {}) == told(node(), unknown) == not_known
    assert told(node(gpus=[]), REQUIRED) == (
        "the image seems to need a GPU, and would be tried without: it has none",
    )
    [neither] = told(dark("gpus"), REQUIRED)
    assert neither.endswith("without: which GPUs it has is not known: no driver answers")
    # The user has said.
    for facts in ({}, unknown, REQUIRED):
        assert told(node(), facts, resources={"gpu": 0}) == ()
    assert told(node(T4), {}, gpu_count=1) == ()


def test_gpus_are_granted_where_nobody_knows_them_alone() -> None:
    assert granted(dark("gpus"), 2).node.gpus == 2
    for there in (node(T4), node(gpus=[]), dark("gpus", **{"kubernetes.io/arch": "amd64"})):
        assert granted(there, 2) is there
    assert granted(node(), 0) == node()
    assert node(gpus=[]).facts["gpus"].confidence is EXACT
