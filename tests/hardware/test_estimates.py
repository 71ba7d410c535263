"""Estimates, and measures that replace them: each rule by cases of yes and of no."""

from typing import Any

import pytest
from examples_of import version
from parts.hardware import A10, EXACT, H100, INFERRED, T4, evidence, node, planned, profile, weights
from parts.hardware import verdicts as outcomes

from longshore.core.types import Evidence, HardwarePlan
from longshore.hardware.planning import Plugin

GPU = {"resources": {"gpu": 1}}
CONFIG = {
    "path": "model/config.json",
    "layers": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "dtype": "bfloat16",
}
CACHE_OF_8K = 1024
"""MiB: 2 x 32 layers x 8 heads x 128 x 2 bytes x 8192 tokens."""


def llm(cmd: str = "", config: Any = None, env: Any = None, **facts: Any) -> Any:
    found = {"weights": weights(10_000), "model_config": ([{**CONFIG, **(config or {})}], EXACT)}
    return profile({**found, **facts}, cmd=cmd.split(), env=env)


# --- estimate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cmd", "mib"),
    [
        ("vllm serve --max-model-len 8192", CACHE_OF_8K),
        ("vllm serve --max-model-len=8K --max-num-seqs=4", 4 * CACHE_OF_8K),
        ("sglang --context-length 8192 --max-running-requests 2", 2 * CACHE_OF_8K),
        ("vllm serve --max-model-len 8192 --kv-cache-dtype fp8_e5m2", CACHE_OF_8K // 2),
        ("vllm serve --max-model-len 8192 --dtype float32", 2 * CACHE_OF_8K),
        ("vllm serve --max-model-len 8192 --kv-cache-dtype auto --dtype auto", CACHE_OF_8K),
        # Nothing declares how much it keeps, or of what it is.
        ("vllm serve", 0),
        ("vllm serve --max-num-seqs 4", 0),
        ("vllm serve --max-model-len", 0),
        ("vllm serve --max-model-len auto", 0),
        ("vllm serve --max-model-len 0", 0),
        ("vllm serve --max-model-len 8192 --dtype odd", 0),
    ],
)
def test_a_key_value_cache_is_estimated_only_of_what_is_declared(cmd: str, mib: int) -> None:
    made = planned(llm(cmd), (node(H100),), **GPU)
    assert made.gpu_mem_estimate_mib == 10_000 + mib
    told = evidence(made, "estimate")
    assert told.startswith("GPU memory: weights of 9.8 GiB (safetensors in /model)")
    assert ("key-value cache" in told) is (mib > 0)
    assert made.gpu_mem_floor_mib == 10_000
    assert outcomes(made)["estimate"] == "pass"


def test_an_estimate_says_what_it_is_made_of() -> None:
    made = planned(llm("vllm --max-model-len 8192 --max-num-seqs 2"), (node(H100),), **GPU)
    assert evidence(made, "estimate") == (
        "GPU memory: weights of 9.8 GiB (safetensors in /model) + key-value cache of 2 GiB "
        "(2 x 32 layers x 8 heads x 128 x 2 bytes, bfloat16, of /model/config.json; "
        "x 8192 tokens, --max-model-len; x 2 sequences, --max-num-seqs)"
    )


def test_environment_and_labels_declare_a_context_too() -> None:
    by_env = llm(env={"MAX_MODEL_LEN": "8192", "MAX_NUM_SEQS": "2"})
    assert planned(by_env, (node(H100),), **GPU).gpu_mem_estimate_mib == 10_000 + 2 * CACHE_OF_8K
    spec: Any = {**GPU, "env": {"MAX_MODEL_LEN": "16K"}}
    assert planned(by_env, (node(H100),), **spec).gpu_mem_estimate_mib == 10_000 + 4 * CACHE_OF_8K
    labelled = llm()
    labels = {"longshore.context-length": "8192"}
    config = labelled.image.config.model_copy(update={"labels": labels})
    image = labelled.image.model_copy(update={"config": config})
    made = planned(labelled.model_copy(update={"image": image}), (node(H100),), **GPU)
    assert made.gpu_mem_estimate_mib == 10_000 + CACHE_OF_8K


@pytest.mark.parametrize("odd", [{"path": "other/config.json"}, {"dtype": ""}, {"layers": "many"}])
def test_sizes_of_another_model_or_without_a_type_count_for_nothing(odd: Any) -> None:
    made = planned(llm("--max-model-len 8192", odd), (node(H100),), **GPU)
    assert made.gpu_mem_estimate_mib == 10_000


def test_what_is_split_is_estimated_for_each_gpu() -> None:
    found = llm("vllm --max-model-len 8192 --tensor-parallel-size 2")
    made = planned(found, (node(H100, H100),), resources={"gpu": 2})
    assert made.gpu_mem_estimate_mib == (10_000 + CACHE_OF_8K) // 2


def test_a_cache_that_may_not_fit_is_worth_a_warning_and_refuses_nothing() -> None:
    found = llm("vllm --max-model-len 64K")
    made = planned(found, (node(T4),), **GPU)
    assert outcomes(made)["estimate"] == "unknown"
    assert made.warnings[0].startswith("the largest GPU has 15 GiB, which may be too little for")
    assert "fail" not in outcomes(made).values()
    assert "estimate" not in str(planned(found, (node(H100),), **GPU).warnings)


def test_without_a_gpu_memory_is_estimated_from_weights_alone() -> None:
    made = planned(llm("vllm --max-model-len 8192"), resources={"gpu": 0})
    assert (made.memory_estimate_mib, made.gpu_mem_estimate_mib) == (10_000, None)
    assert evidence(made, "estimate") == "memory: weights of 9.8 GiB (safetensors in /model)"
    unread = planned(profile({"weights": weights(100, "pytorch")}))
    assert "by their size on disk" in evidence(unread, "estimate")
    nothing = planned(profile())
    assert (nothing.memory_estimate_mib, "estimate" in outcomes(nothing)) == (None, False)


# --- measured-memory ------------------------------------------------------------------------------


def seen(mib: int, sure: Any = EXACT) -> tuple[Any, Any]:
    return mib, sure


@pytest.mark.parametrize(
    ("limit", "outcome", "warned"),
    [
        (None, "pass", ""),
        ("2000Mi", "pass", ""),
        ("1500Mi", "pass", ""),
        ("1499Mi", "unknown", "the memory limit of 1.5 GiB is close to what a replica used"),
        ("1200Mi", "unknown", "the memory limit of 1.2 GiB is below what a replica used"),
    ],
)
def test_a_limit_is_held_against_what_was_measured(limit: Any, outcome: str, warned: str) -> None:
    facts: Any = {"memory_measured": seen(1350), "weights": weights(1200)}
    made = planned(profile(facts), resources={"memory": limit})
    assert (made.memory_measured_mib, made.memory_estimate_mib) == (1350, 1200)
    assert outcomes(made)["measured-memory"] == outcome
    told = "1.3 GiB, the source of memory_measured; estimated 1.2 GiB"
    assert evidence(made, "measured-memory").startswith(told)
    assert any(warned in each for each in made.warnings) if warned else not made.warnings


def test_a_limit_and_what_was_used_never_read_alike() -> None:
    facts: Any = {"memory_measured": seen(1350)}
    made = planned(profile(facts), resources={"memory": "1300Mi"})
    (warning,) = made.warnings
    assert warning.startswith(
        "measured: the memory limit of 1,300 MiB is below what a replica used: 1,350 MiB, "
    )


def test_what_was_not_measured_is_told_nowhere() -> None:
    made = planned(profile(), resources={"memory": "1Gi"})
    assert (made.memory_measured_mib, made.gpu_mem_measured_mib) == (None, None)
    assert not {"measured-memory", "measured-gpu-memory"} & outcomes(made).keys()


# --- measured-gpu-memory --------------------------------------------------------------------------


def gpus(used: int, sure: Any = EXACT, **facts: Any) -> Any:
    return profile({"weights": weights(16_000), "gpu_memory_measured": seen(used, sure), **facts})


def test_what_was_measured_is_the_floor_instead_of_the_weights() -> None:
    made = planned(gpus(9000), (node(T4),), **GPU)
    # The weights alone would be too large for it.
    assert (made.gpu_mem_floor_mib, made.gpu_mem_measured_mib) == (9000, 9000)
    assert "gpu-memory" not in outcomes(made)
    assert outcomes(made)["measured-gpu-memory"] == "pass"
    assert "nvidia.com/gpu.memory" in str(made.affinity)
    assert "8999" in str(made.affinity)
    assert "estimated 15.6 GiB" in evidence(made, "measured-gpu-memory")


def test_a_gpu_that_is_smaller_than_what_was_measured_is_refused_by_what_is_sure_alone() -> None:
    sure = planned(gpus(20_000), (node(T4),), **GPU)
    assert outcomes(sure)["measured-gpu-memory"] == "fail"
    assert "the largest GPU has 15 GiB" in evidence(sure, "measured-gpu-memory")
    other = planned(gpus(20_000, INFERRED), (node(A10, T4),), **GPU)
    assert outcomes(other)["measured-gpu-memory"] == "pass"
    assert other.gpu_mem_floor_mib == 16_000
    warned = planned(gpus(24_000, INFERRED), (node(A10),), **GPU)
    assert outcomes(warned)["measured-gpu-memory"] == "unknown"
    assert warned.warnings[-1].startswith("measured: it may not fit: 23.4 GiB of each GPU")
    assert warned.gpu_mem_measured_mib == 24_000


def test_the_users_wish_wins_over_the_measure_and_the_conflict_is_shown() -> None:
    asked = {"resources": {"gpu": 1, "gpu_memory": "8000Mi"}}
    made = planned(gpus(9000), (node(T4),), **asked)
    assert (made.gpu_mem_floor_mib, made.gpu_mem_measured_mib) == (8000, 9000)
    assert outcomes(made)["measured-gpu-memory"] == "unknown"
    assert made.warnings[-1].startswith("measured: GPUs of 7.8 GiB were asked for, and a replica")
    enough = planned(gpus(8000), (node(T4),), **asked)
    assert outcomes(enough)["measured-gpu-memory"] == "pass"
    assert not [each for each in enough.warnings if each.startswith("measured")]


@pytest.mark.parametrize(
    ("package", "env", "floor"),
    [
        ("vllm", {}, 16_000),
        ("jax", {}, 16_000),
        ("jax", {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}, 70_000),
        ("torch", {}, 70_000),
    ],
)
def test_what_takes_a_share_of_any_gpu_is_no_measure_of_what_it_needs(
    package: str, env: Any, floor: int
) -> None:
    packages: Any = [{"name": package, "version": "1", "path": "x"}], EXACT
    made = planned(gpus(70_000, packages=packages), (node(H100),), env=env, **GPU)
    assert (made.gpu_mem_floor_mib, made.gpu_mem_measured_mib) == (floor, 70_000)
    takes = "takes a share of any GPU" in evidence(made, "measured-gpu-memory")
    assert takes is bool(made.gpu_mem_takes_all) is (floor == 16_000)


def test_without_gpus_their_memory_is_not_asked_for() -> None:
    made = planned(gpus(9000), (node(T4),), resources={"gpu": 0})
    assert (made.gpu_mem_floor_mib, made.gpu_mem_measured_mib) == (None, None)


# --- afterwards -----------------------------------------------------------------------------------


def followed(plan: HardwarePlan, facts: dict[str, int], **spec: Any) -> HardwarePlan:
    before = version(**spec)
    placement = before.placement.model_copy(update={"plan": plan})
    told = {
        name: Evidence(value=mib, source="a test", confidence=EXACT) for name, mib in facts.items()
    }
    return Plugin().longshore_replan_hardware(
        before.model_copy(update={"placement": placement}), told
    )


def test_a_plan_that_was_made_follows_as_if_it_were_made_now() -> None:
    before = planned(gpus(9000, gpu_memory_measured=(None, EXACT)), (node(H100),), **GPU)
    assert before.gpu_mem_floor_mib == 16_000
    made = followed(before, {"gpu_memory_measured": 9000, "memory_measured": 700}, **GPU)
    now = planned(gpus(9000, memory_measured=seen(700)), (node(H100),), **GPU)
    same = {"verdicts", "warnings"}
    assert made.model_dump(exclude=same) == now.model_dump(exclude=same)
    assert outcomes(made) == outcomes(now)
    # Again and again, it tells of the newest measure alone.
    again = followed(made, {"gpu_memory_measured": 9500, "memory_measured": 700}, **GPU)
    assert len(again.verdicts) == len(made.verdicts)
    assert again.gpu_mem_floor_mib == 9500
    assert "9499" in str(again.affinity)


def test_warnings_of_an_earlier_measure_do_not_pile_up() -> None:
    asked: Any = {"resources": {"memory": "1000Mi"}}
    first = followed(planned(profile(), **asked), {"memory_measured": 990}, **asked)
    second = followed(first, {"memory_measured": 1200}, **asked)
    assert len(first.warnings) == len(second.warnings) == 1
    assert "is below what a replica used: 1.2 GiB, a test" in second.warnings[0]
    assert followed(second, {"memory_measured": 100}, **asked).warnings == ()
