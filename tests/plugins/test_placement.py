import pytest
from examples_of import image
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from longshore.core.errors import Refused
from longshore.core.types import (
    Confidence,
    Evidence,
    HardwarePlan,
    Image,
    ImageConfig,
    ImageProfile,
    Node,
    NodeProfile,
    VersionSpec,
)
from longshore.plugins.placement import (
    THREADS,
    longshore_filter_node,
    longshore_plan_hardware,
    longshore_score_node,
)


def node(
    architecture: str = "amd64", cpu: int = 4000, memory: int = 8192, gpus: int = 0
) -> NodeProfile:
    return NodeProfile(
        node=Node(
            name="n", architecture=architecture, cpu_millicores=cpu, memory_mib=memory, gpus=gpus
        )
    )


def built(*platforms: str, **env: str) -> Image:
    return image().model_copy(update={"platforms": platforms, "config": ImageConfig(env=env)})


def plan(
    image: Image | None = None, nodes: tuple[NodeProfile, ...] = (node(),), **spec: object
) -> HardwarePlan:
    asked = VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec})
    return longshore_plan_hardware(asked, ImageProfile(image=image or built("linux/amd64")), nodes)


# --- the plan -------------------------------------------------------------------------------------


def test_a_plan_is_what_the_user_asked_for() -> None:
    asked = plan(resources={"cpu": "2", "memory": "1Gi", "gpu": 1})
    assert (asked.cpu_millicores, asked.memory_mib) == (2000, 1024)
    assert (asked.target, asked.gpu_count) == ("gpu", 1)
    free = plan()
    assert (free.cpu_millicores, free.memory_mib, free.target, free.env) == (None, None, "cpu", {})


@pytest.mark.parametrize(
    ("cpu", "threads"), [("1m", "1"), ("0.5", "1"), ("1500m", "1"), ("4", "4")]
)
def test_libraries_start_as_many_threads_as_there_are_whole_cores(cpu: str, threads: str) -> None:
    assert plan(resources={"cpu": cpu}).env == dict.fromkeys(THREADS, threads)


def test_thread_variables_of_the_user_or_the_image_are_left_alone() -> None:
    env = plan(
        built("linux/amd64", MKL_NUM_THREADS="3"),
        resources={"cpu": 2},
        env={"OMP_NUM_THREADS": "8"},
    ).env
    assert set(env) == set(THREADS) - {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}


def test_a_cuda_image_gets_no_gpu_that_nobody_asked_for() -> None:
    cuda = built("linux/amd64", NVIDIA_VISIBLE_DEVICES="all")
    assert plan(cuda).env == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert plan(cuda, resources={"gpu": 1}).env == {}
    assert plan(cuda, env={"NVIDIA_VISIBLE_DEVICES": "0"}).env == {}


def test_an_image_that_may_use_a_gpu_and_gets_none_is_worth_a_warning() -> None:
    need = Evidence(value="optional", source="CUDA_VERSION=12", confidence=Confidence.INFERRED)
    profile = ImageProfile(image=built("linux/amd64"), facts={"gpu_need": need})
    spec = VersionSpec(image="localhost:5001/iris:1")
    assert longshore_plan_hardware(spec, profile, [node()]).warnings == (
        "the image may use a GPU (CUDA_VERSION=12), and gets none as none was asked for",
    )
    asked = VersionSpec.model_validate({"image": spec.image, "resources": {"gpu": 1}})
    assert longshore_plan_hardware(asked, profile, [node(gpus=1)]).warnings == ()


@pytest.mark.parametrize("value", ["none", "unknown"])
def test_an_image_that_is_not_known_to_use_a_gpu_is_not_warned_of(value: str) -> None:
    need = Evidence(value=value, source="its files", confidence=Confidence.INFERRED)
    profile = ImageProfile(image=built("linux/amd64"), facts={"gpu_need": need})
    spec = VersionSpec(image="localhost:5001/iris:1")
    assert longshore_plan_hardware(spec, profile, [node()]).warnings == ()


def test_an_image_that_was_not_read_whole_is_worth_a_warning() -> None:
    def warnings(**value: JsonValue) -> tuple[str, ...]:
        scan = Evidence(value=value, source="layers", confidence=Confidence.EXACT)
        profile = ImageProfile(image=built("linux/amd64"), facts={"scan": scan})
        spec = VersionSpec(image="localhost:5001/iris:1")
        return longshore_plan_hardware(spec, profile, [node()]).warnings

    assert warnings(complete=True, skipped=["a file"]) == ()
    assert warnings(complete=False, skipped=["layer 1 is a bomb", "layer 2", "layer 3"]) == (
        (
            "not all of the image was read, so that less is known of it: layer 1 is a bomb; "
            "and 2 more reasons"
        ),
    )


def test_the_architectures_of_an_image_are_planned_and_told() -> None:
    both = plan(
        built("linux/amd64", "linux/arm64/v8", "linux/arm64", "windows/amd64"),
        (node("arm64"), node("riscv64")),
    )
    assert both.architectures == ("amd64", "arm64")
    (verdict,) = both.verdicts
    assert (verdict.rule, verdict.outcome) == ("architecture", "pass")
    assert verdict.evidence == (
        "image: linux/amd64, linux/arm64/v8, linux/arm64, windows/amd64; nodes: arm64, riscv64"
    )


def test_an_image_that_no_node_can_run_is_refused_with_both_sides() -> None:
    with pytest.raises(Refused) as caught:
        plan(built("linux/arm64"), (node("amd64"), node("amd64")))
    assert caught.value.message == (
        "no node can run the image 'localhost:5001/iris:1': it is built for linux/arm64, "
        "and the nodes are amd64"
    )
    assert caught.value.hint == (
        "Build it for another platform too: docker buildx build --platform linux/amd64 ..."
    )


def test_what_is_not_known_refuses_nothing() -> None:
    unknown = plan(built())
    assert unknown.verdicts[0].outcome == "unknown"
    assert longshore_filter_node(unknown, node("riscv64")) == []


# --- nodes ----------------------------------------------------------------------------------------


def test_reasons_against_a_node_are_all_told() -> None:
    asked = HardwarePlan(
        target="gpu", architectures=("arm64",), gpu_count=2, cpu_millicores=5000, memory_mib=9000
    )
    assert longshore_filter_node(asked, node(gpus=1)) == [
        "it is amd64, and the image is built for arm64",
        "5000m CPU asked for, it has 4000m",
        "9000 MiB memory asked for, it has 8192 MiB",
        "2 GPUs asked for, it has 1",
    ]


def test_a_node_that_fits_exactly_fits() -> None:
    asked = HardwarePlan(
        architectures=("amd64",), gpu_count=1, cpu_millicores=4000, memory_mib=8192
    )
    assert longshore_filter_node(asked, node(gpus=1)) == []


def test_the_node_with_more_room_scores_higher() -> None:
    asked = HardwarePlan(cpu_millicores=1000, memory_mib=6144)
    assert longshore_score_node(asked, node()) == 25
    assert longshore_score_node(asked, node(memory=12288)) == 50
    assert longshore_score_node(asked, node(memory=61440)) == 75


def test_nodes_with_gpus_are_kept_for_those_that_need_them() -> None:
    assert longshore_score_node(HardwarePlan(), node(gpus=1)) == 50
    assert longshore_score_node(HardwarePlan(target="gpu", gpu_count=1), node(gpus=1)) == 100


resources = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 8))


@given(asked=resources, has=resources)
def test_scores_of_nodes_that_fit_stay_within_0_and_100(
    asked: tuple[int, int, int], has: tuple[int, int, int]
) -> None:
    wanted = HardwarePlan(cpu_millicores=asked[0], memory_mib=asked[1], gpu_count=asked[2])
    there = node(cpu=has[0], memory=has[1], gpus=has[2])
    if not longshore_filter_node(wanted, there):
        assert 0 <= longshore_score_node(wanted, there) <= 100
