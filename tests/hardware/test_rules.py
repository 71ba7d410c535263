"""Each rule, by a case in which it says yes and one in which it says no."""

from typing import Any

import pytest
from parts.hardware import (
    A10,
    A100_40,
    A100_80,
    B200,
    DECLARED,
    EXACT,
    H100,
    INFERRED,
    ONNXRUNTIME,
    T4,
    XGBOOST,
    evidence,
    labelled,
    node,
    planned,
    profile,
    verdicts,
    weights,
)

from longshore.core.types import Requirement, Toleration, VersionSpec
from longshore.hardware.planning import PlanSettings, Plugin
from longshore.hardware.rules.environment import THREADS

GPU = {"resources": {"gpu": 1}}
REQUIRED = {"gpu_need": ("required", INFERRED)}
OPTIONAL = {"gpu_need": ("optional", INFERRED)}

# --- architecture ---------------------------------------------------------------------------------


def test_the_architectures_of_an_image_are_planned_and_told() -> None:
    built = profile(platforms=("linux/amd64", "linux/arm64/v8", "linux/arm64", "windows/amd64"))
    made = planned(built, (node(architecture="arm64"), node(architecture="riscv64")))
    assert made.architectures == ("amd64", "arm64")
    assert verdicts(made)["architecture"] == "pass"
    assert evidence(made, "architecture") == (
        "image: linux/amd64, linux/arm64/v8, linux/arm64, windows/amd64; nodes: arm64, riscv64"
    )


def test_an_image_that_no_node_can_run_fails_with_both_sides() -> None:
    made = planned(profile(platforms=("linux/arm64",)), (node(),))
    (verdict,) = (each for each in made.verdicts if each.outcome == "fail")
    assert verdict.evidence == (
        "no node can run the image 'localhost:5001/iris:1': it is built for linux/arm64, "
        "and the nodes are amd64"
    )
    assert verdict.hint == (
        "Build it for another platform too: docker buildx build --platform linux/amd64 ..."
    )


def test_the_architecture_that_a_user_wishes_is_the_only_one() -> None:
    both = profile(platforms=("linux/amd64", "linux/arm64"))
    made = planned(both, (node(), node(architecture="arm64")), architecture="arm64")
    assert made.architectures == ("arm64",)
    assert verdicts(made)["architecture"] == "pass"
    nobody = planned(both, (node(),), architecture="arm64")
    assert verdicts(nobody)["architecture"] == "fail"
    assert "it is to run on arm64, and the nodes are amd64" in evidence(nobody, "architecture")
    other = planned(profile(), (node(),), architecture="arm64")
    assert "of the architecture arm64 that was asked for" in evidence(other, "architecture")


def test_an_image_that_does_not_say_its_platform_is_refused_nowhere() -> None:
    made = planned(profile(platforms=()), (node(architecture="riscv64"),))
    assert (verdicts(made)["architecture"], made.architectures) == ("unknown", ())


@pytest.mark.parametrize(
    ("level", "sure", "outcome"),
    [
        (None, EXACT, "unknown"),
        ("v2", EXACT, "fail"),
        ("v2", INFERRED, "unknown"),
        ("v3", INFERRED, "pass"),
        ("v4", EXACT, "pass"),
    ],
)
def test_a_variant_is_a_floor(level: str | None, sure: Any, outcome: str) -> None:
    there = node(cpu_level=level)
    fact = there.facts["cpu_level"].model_copy(update={"confidence": sure})
    there = there.model_copy(update={"facts": {"cpu_level": fact}})
    made = planned(profile(platforms=("linux/amd64/v3",)), (there,))
    assert (verdicts(made)["cpu-level"], made.cpu_level) == (outcome, 3)
    assert "cpu-level" not in verdicts(planned(profile(), (there,)))


# --- gpu-target -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "spec", "nodes", "count", "outcome"),
    [
        (OPTIONAL, GPU, (node(T4),), 1, "pass"),
        (OPTIONAL, {}, (node(T4),), 0, "pass"),
        (OPTIONAL | {"weights": weights(4096)}, {}, (node(T4),), 1, "pass"),
        (OPTIONAL | {"weights": weights(4095)}, {}, (node(T4),), 0, "pass"),
        (OPTIONAL | {"weights": weights(4096)}, {}, (node(),), 0, "pass"),
        (OPTIONAL | {"weights": weights(9000)}, {"resources": {"gpu": 0}}, (node(T4),), 0, "pass"),
        (REQUIRED, {}, (node(T4),), 1, "pass"),
        (REQUIRED, {}, (node(),), 0, "unknown"),
        (REQUIRED, {"resources": {"gpu": 0}}, (node(T4),), 0, "pass"),
        ({"gpu_need": ("required", DECLARED)}, {}, (node(),), 1, "fail"),
        ({"gpu_need": ("required", DECLARED)}, {"resources": {"gpu": 0}}, (node(),), 0, "pass"),
        ({"gpu_need": ("none", INFERRED)}, {}, (node(T4),), 0, "pass"),
        ({"gpu_need": ("none", INFERRED)}, GPU, (node(T4),), 1, "pass"),
        ({}, {}, (node(T4),), 0, "unknown"),
        ({}, {"resources": {"gpu_memory": "1Gi"}}, (node(T4),), 1, "pass"),
    ],
)
def test_whether_a_version_gets_gpus(
    facts: Any, spec: Any, nodes: Any, count: int, outcome: str
) -> None:
    made = planned(profile(facts), nodes, **spec)
    assert (made.gpu_count, verdicts(made)["gpu-target"]) == (count, outcome)
    assert made.target == ("gpu" if count else "cpu")


def test_the_users_wish_wins_and_the_evidence_against_it_is_shown() -> None:
    none = planned(profile({"gpu_need": ("none", INFERRED)}), (node(T4),), **GPU)
    assert none.warnings[0] == (
        "a GPU was asked for, and the image seems to use none: the source of gpu_need"
    )
    needed = planned(profile(REQUIRED), (node(T4),), resources={"gpu": 0})
    assert needed.warnings == (
        "the image needs a GPU (the source of gpu_need), and by --gpu 0 it gets none",
    )
    optional = planned(profile(OPTIONAL), (node(T4),))
    assert optional.warnings == (
        "the image may use a GPU (the source of gpu_need), and gets none as none was asked for",
    )


def test_evidence_says_what_a_node_could_not_be_compared_with() -> None:
    nothing = planned(profile({}), (node(),))
    assert evidence(nothing, "gpu-target") == (
        "no GPU asked for; whether the image uses a GPU is unknown: nothing tells"
    )
    wished = planned(profile(ONNXRUNTIME), (node(),), resources={"gpu_memory": "1Gi"})
    assert evidence(wished, "gpu-memory") == "1 GiB asked for; no node has a GPU"
    assert evidence(wished, "gpu-driver").endswith("; no node has a GPU")


# --- gpu-memory -----------------------------------------------------------------------------------


def test_weights_larger_than_the_largest_gpu_fail_unless_they_are_split() -> None:
    large = profile(REQUIRED | {"weights": weights(100_000)})
    whole = planned(large, (node(A100_80), node(T4)))
    assert verdicts(whole)["gpu-memory"] == "fail"
    assert evidence(whole, "gpu-memory") == (
        "no GPU is large enough: weights of 97.7 GiB (safetensors in /model); "
        "the largest GPU has 80 GiB"
    )
    assert verdicts(planned(large, (node(B200),)))["gpu-memory"] == "pass"
    split = planned(large, (node(A100_80, A100_80),), command=["serve", "--tensor-parallel-size=2"])
    assert (verdicts(split)["gpu-memory"], split.gpu_count) == ("pass", 2)
    assert split.gpu_mem_floor_mib == 50_000
    assert split.warnings == ()


def test_several_gpus_without_a_word_about_splitting_are_worth_a_warning() -> None:
    large = profile(REQUIRED | {"weights": weights(100_000)})
    made = planned(large, (node(A100_80, A100_80),), resources={"gpu": 2})
    assert verdicts(made)["gpu-memory"] == "pass"
    assert "nothing in its command says that weights are split" in made.warnings[0]


def test_the_memory_that_a_user_asks_for_wins_over_the_weights() -> None:
    large = profile(REQUIRED | {"weights": weights(30_000)})
    made = planned(large, (node(A10),), resources={"gpu_memory": "20Gi"})
    assert (verdicts(made)["gpu-memory"], made.gpu_mem_floor_mib) == ("pass", 20480)
    (warning,) = made.warnings
    assert warning == (
        "GPUs of 20 GiB were asked for, and the weights take 29.3 GiB of each "
        "(safetensors in /model)"
    )
    more = planned(large, (node(A10),), resources={"gpu_memory": "40Gi"})
    assert verdicts(more)["gpu-memory"] == "fail"


def test_what_is_not_sure_refuses_nothing_and_is_no_floor() -> None:
    guessed = profile(REQUIRED | {"weights": weights(30_000, "pytorch")})
    made = planned(guessed, (node(T4),))
    assert (verdicts(made)["gpu-memory"], made.gpu_mem_floor_mib) == ("unknown", None)
    assert made.warnings[0].startswith("it may not fit: weights of 29.3 GiB (pytorch in /model)")
    unread = planned(profile(REQUIRED), (node(T4),))
    assert verdicts(unread)["gpu-memory"] == "unknown"
    assert "unknown until measured" in unread.warnings[0]


def test_of_the_same_weights_in_several_formats_one_counts() -> None:
    def floor(*files: tuple[str, str, int]) -> int | None:
        value = [{"path": path, "format": kind, "bytes": mib << 20} for path, kind, mib in files]
        facts = REQUIRED | {"weights": (value, EXACT)}
        return planned(profile(facts), (node(B200),)).gpu_mem_floor_mib

    parts = [(f"m/model-0000{n}-of-00002.safetensors", "safetensors", 100) for n in (1, 2)]
    assert floor(*parts) == 200
    assert floor(*parts, ("m/other.gguf", "gguf", 150)) == 150
    assert floor(("m/a-q4.gguf", "gguf", 50), ("m/a-q8.gguf", "gguf", 100)) == 50
    assert floor(*parts, ("tokenizer/t.safetensors", "safetensors", 1)) == 200


# --- gpu-code and gpu-driver ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "runs"),
    [(T4, True), (A10, True), (A100_40, True), (H100, True), (B200, False)],
    ids=["T4", "A10", "A100", "H100", "B200"],
)
def test_onnxruntime_runs_on_what_it_was_built_for_and_on_no_b200(kind: Any, runs: bool) -> None:
    made = planned(profile(ONNXRUNTIME), (node(kind),), **GPU)
    assert verdicts(made)["gpu-code"] == ("pass" if runs else "fail")
    if not runs:
        assert evidence(made, "gpu-code") == (
            "no GPU runs the code in the image: it is for onnxruntime-gpu: 75 80 86 89 90 120, "
            "no PTX; the GPUs are NVIDIA B200 10.0"
        )


def test_code_of_which_not_all_was_read_refuses_nothing() -> None:
    code = {"gpu_need": ("optional", INFERRED), "sm_sass": ({"x": ["75"]}, INFERRED)}
    made = planned(profile(code), (node(B200),), **GPU)
    assert (verdicts(made)["gpu-code"], made.gpu_code) == ("unknown", ())
    assert any(each.startswith("not all of the image was read, so") for each in made.warnings)


def test_one_package_that_runs_is_enough_and_the_others_are_named() -> None:
    code = {"sm_sass": ({"xgboost": ["100"], "onnxruntime-gpu": ["90"]}, EXACT)}
    made = planned(profile(code), (node(B200),), **GPU)
    assert verdicts(made)["gpu-code"] == "pass"
    assert any(each.startswith("onnxruntime-gpu has no code") for each in made.warnings)


def test_a_driver_that_is_too_old_fails_where_the_need_is_sure() -> None:
    def outcome(sure: Any, *drivers: str) -> str:
        facts = ONNXRUNTIME | {"min_driver": (580, sure)}
        nodes = [node(T4, name=each, driver=each) for each in drivers]
        return verdicts(planned(profile(facts), nodes, **GPU))["gpu-driver"]

    assert outcome(EXACT, "580.65.06") == "pass"
    assert outcome(EXACT, "575.57.08", "580.1") == "pass"
    assert outcome(EXACT, "575.57.08", "535.1") == "fail"
    assert outcome(INFERRED, "575.57.08") == "unknown"
    assert outcome(EXACT, "") == "unknown"


# --- memory ---------------------------------------------------------------------------------------


def test_weights_larger_than_the_memory_limit_are_worth_a_warning() -> None:
    held = profile({"weights": weights(2000)})
    made = planned(held, resources={"memory": "1Gi"})
    assert verdicts(made)["memory"] == "unknown"
    assert any("may be too little for weights of 2 GiB" in each for each in made.warnings)
    assert verdicts(planned(held, resources={"memory": "3Gi"}))["memory"] == "pass"


# --- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu", "threads"), [("1m", "1"), ("0.5", "1"), ("1500m", "1"), ("4", "4")]
)
def test_libraries_start_as_many_threads_as_there_are_whole_cores(cpu: str, threads: str) -> None:
    made = planned(resources={"cpu": cpu})
    assert made.env == dict.fromkeys(THREADS, threads)
    assert made.threads == int(threads)
    assert (planned().env, planned().threads) == ({}, None)


@pytest.mark.parametrize(
    ("built", "spec"),
    [
        (profile(cmd=("gunicorn", "-w", "4", "app")), {}),
        (profile(env={"WEB_CONCURRENCY": "4"}), {}),
        (profile(env={"WEB_CONCURRENCY": "2"}), {"env": {"WEB_CONCURRENCY": "4"}}),
        (profile(cmd=("gunicorn", "app")), {"command": ["uvicorn", "app", "--workers", "4"]}),
    ],
)
def test_worker_processes_share_the_cores(built: Any, spec: Any) -> None:
    made = planned(built, (node(millicores=8000),), resources={"cpu": 8}, **spec)
    assert (made.threads, made.env["OMP_NUM_THREADS"]) == (2, "2")
    assert evidence(made, "threads").startswith("8 cores for 4 worker processes (")


def test_thread_variables_of_the_user_or_the_image_are_left_alone() -> None:
    made = planned(
        profile(env={"MKL_NUM_THREADS": "1"}),
        resources={"cpu": 2},
        env={"OMP_NUM_THREADS": "8"},
    )
    assert set(made.env) == set(THREADS) - {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    (warning,) = made.warnings
    assert warning == (
        "OMP_NUM_THREADS=8 starts more threads than fit the CPU limit of 2 cores with "
        "1 worker process"
    )


# --- gpu-hidden -----------------------------------------------------------------------------------


def test_a_cuda_image_gets_no_gpu_that_nobody_asked_for() -> None:
    cuda = profile(env={"NVIDIA_VISIBLE_DEVICES": "all"})
    assert planned(cuda).env == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert planned(cuda, (node(T4),), **GPU).env == {}
    assert planned(cuda, env={"NVIDIA_VISIBLE_DEVICES": "0"}).env == {}
    assert planned(profile(XGBOOST)).env == {}
    assert planned(profile({"cuda_version": ("12.4", EXACT)})).env == {
        "NVIDIA_VISIBLE_DEVICES": "void"
    }


def test_xgboost_serves_on_a_cpu_where_there_are_gpus() -> None:
    made = planned(profile(XGBOOST | {"weights": weights(3, "pickle")}), (node(), node(H100)))
    assert (made.target, made.gpu_count) == ("cpu", 0)
    assert "fail" not in verdicts(made).values()


# --- affinity -------------------------------------------------------------------------------------

ARCHITECTURE = Requirement(label="kubernetes.io/arch", operator="In", values=("amd64",))
ANY = Requirement(label="nvidia.com/gpu.memory", operator="DoesNotExist")


def terms(facts: Any, **spec: Any) -> list[list[str]]:
    made = planned(profile(facts), (labelled(A100_80), labelled(T4)), **spec)
    return [
        [
            f"{each.label.rpartition('/')[2]} {each.operator} {','.join(each.values)}".strip()
            for each in term
        ]
        for term in made.affinity
    ]


def test_the_architecture_is_repeated_in_each_alternative() -> None:
    made = planned(profile(ONNXRUNTIME), (labelled(T4),), resources={"gpu_memory": "10Gi"})
    assert {term[0] for term in made.affinity} == {ARCHITECTURE}
    assert made.affinity[-1] == (ARCHITECTURE, ANY)
    assert made.tolerations == (Toleration(key="nvidia.com/gpu"),)
    alone = planned()
    assert (alone.affinity, alone.tolerations) == (((ARCHITECTURE,),), ())
    assert planned(profile(platforms=())).affinity == ()


def test_alternatives_are_the_very_set_of_gpus_that_run_the_code() -> None:
    assert terms(ONNXRUNTIME, resources={"gpu": 1, "gpu_memory": "10Gi"}) == [
        [
            "arch In amd64",
            "gpu.memory Gt 10239",
            "gpu.compute.major In 8,9,12",
            "cuda.driver-version.major Gt 579",
        ],
        [
            "arch In amd64",
            "gpu.memory Gt 10239",
            "gpu.compute.major In 7",
            "gpu.compute.minor Gt 4",
            "cuda.driver-version.major Gt 579",
        ],
        ["arch In amd64", "gpu.memory DoesNotExist"],
    ]
    exact = {"sm_sass": ({"x": ["80", "90a"]}, EXACT), "sm_ptx": ({"x": ["86"]}, EXACT)}
    assert terms(exact, **GPU) == [
        ["arch In amd64", "gpu.compute.major Gt 8"],
        ["arch In amd64", "gpu.compute.major In 8"],
        ["arch In amd64", "gpu.memory DoesNotExist"],
    ]
    assert terms({"sm_sass": ({"x": ["90a"]}, EXACT)}, **GPU)[0] == [
        "arch In amd64",
        "gpu.compute.major In 9",
        "gpu.compute.minor In 0",
    ]
    assert terms({}, **GPU) == [["arch In amd64"]]


def test_a_node_that_is_taken_without_knowing_its_gpus_is_worth_a_warning() -> None:
    spec = {"resources": {"gpu_memory": "10Gi"}}
    bare = planned(profile(ONNXRUNTIME), (labelled(),), **spec)
    assert verdicts(bare)["unverified-placement"] == "unknown"
    assert any(
        each.startswith("unverified placement: of the GPUs of n nothing") for each in bare.warnings
    )
    for known in (labelled(T4), node(T4)):
        made = planned(profile(ONNXRUNTIME), (known,), **spec)
        assert "unverified-placement" not in verdicts(made)


def test_features_of_cpus_are_preferred_by_images_that_use_them() -> None:
    libraries = profile({"packages": ([{"name": "numpy"}], EXACT)})
    preferred = planned(libraries).preferred
    assert [each.label.rpartition(".")[2] for each in preferred][:2] == ["AVX2", "AVX512F"]
    assert planned(profile({"packages": ([{"name": "flask"}], EXACT)})).preferred == ()
    assert planned(libraries, (node(T4),), **GPU).preferred == ()


def test_an_image_of_which_not_all_was_read_is_worth_a_warning() -> None:
    def warned(complete: bool) -> tuple[str, ...]:
        scan = {"complete": complete, "skipped": ["too large", "odd"]}
        return planned(profile({"scan": (scan, EXACT)})).warnings

    assert warned(False) == (
        "not all of the image was read, so that less is known of it: too large; and 1 more reasons",
    )
    assert warned(True) == ()


@pytest.mark.parametrize(("gpu_from", "count"), [("1Gi", 1), ("8Gi", 0)])
def test_an_operator_says_from_which_weights_on_a_gpu_is_given(gpu_from: str, count: int) -> None:
    image = profile(OPTIONAL | {"weights": weights(5000)})
    plugin = Plugin(PlanSettings.model_validate({"gpu_from": gpu_from}))
    spec = VersionSpec(image="localhost:5001/iris:1")
    assert plugin.longshore_plan_hardware(spec, image, [node(T4)]).gpu_count == count
    assert Plugin().longshore_plan_hardware(spec, image, [node(T4)]).gpu_count == 1
