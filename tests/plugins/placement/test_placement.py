"""Where versions may run, and where they run best: each plugin alone, then the rules with them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.hardware import (
    A10,
    A100_40,
    A100_80,
    B200,
    H100,
    ONNXRUNTIME,
    T4,
    XGBOOST,
    labelled,
    node,
    planned,
    profile,
    weights,
)

from longshore.core.types import GpuCode, HardwarePlan, NodeProfile, VersionSpec
from longshore.plugins.placement import (
    architecture,
    fit,
    gpu_class,
    image_locality,
    numa,
    packing,
    spreading,
)

# --- fit ------------------------------------------------------------------------------------------


def test_reasons_against_a_small_node_are_all_told() -> None:
    asked = HardwarePlan(
        target="gpu",
        gpu_count=2,
        cpu_millicores=5000,
        memory_mib=9000,
        node_selector={"disk": "ssd", "zone": "a"},
    )
    assert fit.longshore_filter_node(asked, node(T4, labels={"zone": "b"})) == [
        "5 cores asked for, it has 4 cores",
        "8.8 GiB memory asked for, it has 8 GiB",
        "2 GPUs asked for, it has 1",
        "it lacks the label disk=ssd",
        "its label zone is 'b', and 'a' was asked for",
    ]


def test_a_node_that_fits_exactly_fits() -> None:
    asked = HardwarePlan(
        gpu_count=1, cpu_millicores=4000, memory_mib=8192, node_selector={"zone": "a"}
    )
    assert fit.longshore_filter_node(asked, node(T4, labels={"zone": "a"})) == []


def test_gpus_that_were_read_on_an_engines_machine_count() -> None:
    there = node(T4)
    there = there.model_copy(update={"node": there.node.model_copy(update={"gpus": 0})})
    assert fit.longshore_filter_node(HardwarePlan(gpu_count=1), there) == []
    nothing = labelled(T4, gpus=0)
    assert fit.longshore_filter_node(HardwarePlan(gpu_count=1), nothing) == [
        "1 GPU asked for, it has none"
    ]


# --- architecture ---------------------------------------------------------------------------------


def test_a_node_of_another_architecture_or_level_is_told_why() -> None:
    arm = HardwarePlan(architectures=("arm64",))
    spec = VersionSpec(image="localhost:5001/iris:1")
    assert architecture.longshore_filter_node(spec, arm, node()) == [
        "it is amd64, and the image is built for arm64"
    ]
    assert architecture.longshore_filter_node(spec, arm, node(architecture="arm64")) == []
    assert architecture.longshore_filter_node(spec, HardwarePlan(), node()) == []
    # Whatever the image is built for.
    asked = VersionSpec(image="localhost:5001/iris:1", architecture="arm64")
    assert architecture.longshore_filter_node(asked, arm, node()) == [
        "it is amd64, and arm64 was asked for"
    ]
    v3 = HardwarePlan(architectures=("amd64",), cpu_level=3)
    assert architecture.longshore_filter_node(spec, v3, node(cpu_level="v2")) == [
        "it is amd64/v2, and the image is built for amd64/v3"
    ]
    assert architecture.longshore_filter_node(spec, v3, node(cpu_level="v3")) == []
    assert architecture.longshore_filter_node(spec, v3, node()) == []


# --- gpu_class ------------------------------------------------------------------------------------

NEEDS = HardwarePlan(
    gpu_count=1,
    gpu_mem_floor_mib=20000,
    gpu_code=(GpuCode(owner="torch", sass=("80", "90")),),
    min_driver=525,
)
CODE = "and the image's code is for torch: 80 90, no PTX"


@pytest.mark.parametrize(
    ("there", "reasons"),
    [
        (node(A10), []),
        (node(H100), []),
        (node(T4, H100), []),
        (labelled(), []),
        (node(), []),
        (
            node(T4),
            [
                "GPUs of 19.5 GiB are needed, its are of 15 GiB",
                f"its GPUs are of compute capability 7.5, {CODE}",
            ],
        ),
        (
            node(B200),
            [
                f"its GPUs are of compute capability 10.0, {CODE}",
            ],
        ),
        (
            node(B200, ("small", "8.0", 10240)),
            ["none of its GPUs is both large enough and of a kind that runs the code"],
        ),
        (
            node(A10, driver="470.1"),
            ["its NVIDIA driver is 470, and 525 or newer is needed"],
        ),
    ],
)
def test_gpus_that_are_too_small_or_of_another_kind(there: NodeProfile, reasons: Any) -> None:
    assert gpu_class.longshore_filter_node(NEEDS, there) == reasons
    assert gpu_class.longshore_filter_node(HardwarePlan(), there) == []


def test_slices_of_a_gpu_count_instead_of_it() -> None:
    def cut(mib: int) -> NodeProfile:
        slices = [{"uuid": f"MIG-{n}", "name": "1g", "memory_total_mib": mib} for n in range(2)]
        mig = {"mode": "enabled", "pending": "enabled", "instances": slices}
        whole = node(A100_40)
        fact = whole.facts["gpus"]
        assert isinstance(fact.value, list)
        (gpu,) = fact.value
        assert isinstance(gpu, dict)
        sliced = fact.model_copy(update={"value": [{**gpu, "mig": mig}]})
        return whole.model_copy(update={"facts": {**whole.facts, "gpus": sliced}})

    assert gpu_class.longshore_filter_node(NEEDS, cut(20096)) == []
    assert gpu_class.longshore_filter_node(NEEDS, cut(4864)) == [
        "GPUs of 19.5 GiB are needed, its are of 4.8 GiB"
    ]


def test_the_smallest_gpus_that_do_are_best_and_gpus_are_for_those_that_need_them() -> None:
    def score(plan: HardwarePlan, there: NodeProfile) -> float:
        return gpu_class.longshore_score_node(plan, there)

    assert score(NEEDS, node(A10)) > score(NEEDS, node(A100_40)) > score(NEEDS, node(H100))
    assert score(NEEDS, labelled()) == 50
    assert (score(HardwarePlan(), node()), score(HardwarePlan(), node(T4))) == (100, 0)


# --- numa, image_locality, spreading, packing -----------------------------------------------------

TWO = [
    {"node": 0, "cpus": "0-3", "memory_mib": 4096},
    {"node": 1, "cpus": "4-7", "memory_mib": 4096},
]


@pytest.mark.parametrize(
    ("asked", "score"),
    [
        (HardwarePlan(cpu_millicores=4000, memory_mib=4096), 100),
        (HardwarePlan(cpu_millicores=5000), 0),
        (HardwarePlan(memory_mib=5000), 0),
        (HardwarePlan(gpu_count=1), 0),
        (HardwarePlan(), 50),
    ],
)
def test_one_numa_node_that_has_everything_is_best(asked: HardwarePlan, score: float) -> None:
    there = node(millicores=8000, numa=TWO)
    assert numa.longshore_score_node(asked, there) == score
    assert numa.longshore_score_node(asked, node()) == 50


def test_nodes_that_have_the_image_are_preferred() -> None:
    def score(*images: str, asked: str = "team/iris:1") -> float | None:
        there = node()
        there = there.model_copy(update={"node": there.node.model_copy(update={"images": images})})
        return image_locality.longshore_score_node(VersionSpec(image=asked), there)

    assert score("docker.io/team/iris:1", "x@sha256:00") == 100
    assert score("registry.example.com/team/iris:1") == 0
    assert score() is None


def test_the_node_with_more_room_scores_higher_where_versions_spread() -> None:
    asked = HardwarePlan(cpu_millicores=1000, memory_mib=6144)
    scores = [
        (
            spreading.longshore_score_node(asked, node(memory=memory)),
            packing.longshore_score_node(asked, node(memory=memory)),
        )
        for memory in (8192, 12288, 61440)
    ]
    assert scores == [(25, 75), (50, 50), (75, 25)]
    half = HardwarePlan(gpu_count=1)
    assert packing.longshore_score_node(half, node(T4, T4)) == 50


resources = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 8))
SCORERS = (
    spreading.longshore_score_node,
    packing.longshore_score_node,
    gpu_class.longshore_score_node,
    numa.longshore_score_node,
)


@given(asked=resources, has=resources)
def test_scores_stay_within_0_and_100(
    asked: tuple[int, int, int], has: tuple[int, int, int]
) -> None:
    wanted = HardwarePlan(
        cpu_millicores=asked[0], memory_mib=asked[1], gpu_count=asked[2], gpu_mem_floor_mib=1
    )
    there = node(*[T4] * has[2], millicores=has[0], memory=has[1], numa=TWO)
    for score in SCORERS:
        assert 0 <= (score(wanted, there) or 0) <= 100


# --- plans on nodes as they are -------------------------------------------------------------------

FLEET = (
    node(name="cpu"),
    node(name="arm", architecture="arm64"),
    node(T4, name="t4"),
    node(A10, name="a10"),
    node(A100_40, name="a100-40"),
    node(A100_80, name="a100-80"),
    node(H100, name="h100"),
    node(B200, name="b200"),
)


def fitting(plan: HardwarePlan, nodes: Sequence[NodeProfile] = FLEET) -> list[str]:
    filters = (
        fit.longshore_filter_node,
        partial(architecture.longshore_filter_node, VersionSpec(image="iris")),
        gpu_class.longshore_filter_node,
    )
    return [each.node.name for each in nodes if not any(filter_(plan, each) for filter_ in filters)]


@pytest.mark.parametrize(
    ("facts", "spec", "names"),
    [
        (XGBOOST, {}, ["cpu", "t4", "a10", "a100-40", "a100-80", "h100", "b200"]),
        (ONNXRUNTIME, {"resources": {"gpu": 1}}, ["t4", "a10", "a100-40", "a100-80", "h100"]),
        (
            ONNXRUNTIME,
            {"resources": {"gpu": 1, "gpu_memory": "20Gi"}},
            ["a10", "a100-40", "a100-80", "h100"],
        ),
        (
            ONNXRUNTIME | {"weights": weights(60_000)},
            {},
            ["a100-80", "h100"],
        ),
        (XGBOOST, {"resources": {"gpu": 1, "gpu_memory": "100Gi"}}, ["b200"]),
    ],
)
def test_versions_are_placed_on_gpus_that_run_them(facts: Any, spec: Any, names: list[str]) -> None:
    made = planned(profile(facts), FLEET, **spec)
    assert "fail" not in {each.outcome for each in made.verdicts}
    assert fitting(made) == names


def test_an_image_for_arm_runs_on_arm() -> None:
    assert fitting(planned(profile(platforms=("linux/arm64",)), FLEET)) == ["arm"]
    assert fitting(planned(profile(platforms=("linux/amd64", "linux/arm64")), FLEET))[:2] == [
        "cpu",
        "arm",
    ]
