"""Images and nodes as their facts tell of them, for what plans and places versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from examples_of import image

from longshore.core.types import (
    Confidence,
    Evidence,
    HardwarePlan,
    ImageConfig,
    ImageProfile,
    Node,
    NodeProfile,
    VersionSpec,
)
from longshore.hardware.planning import plan
from longshore.hardware.rules.known import Known

EXACT, DECLARED, INFERRED = Confidence.EXACT, Confidence.DECLARED, Confidence.INFERRED

T4 = ("Tesla T4", "7.5", 15360)
A10 = ("NVIDIA A10", "8.6", 23028)
A100_40 = ("NVIDIA A100-SXM4-40GB", "8.0", 40960)
A100_80 = ("NVIDIA A100-SXM4-80GB", "8.0", 81920)
H100 = ("NVIDIA H100 80GB HBM3", "9.0", 81559)
B200 = ("NVIDIA B200", "10.0", 183359)
"""Name, compute capability, and MiB of memory."""

Kind = tuple[str, str, int]

ONNXRUNTIME = {
    "gpu_need": ("optional", INFERRED),
    "sm_sass": ({"onnxruntime-gpu": ["75", "80", "86", "89", "90", "120"]}, EXACT),
    "cuda_version": ("13.0", EXACT),
    "min_driver": (580, EXACT),
}
"""What onnxruntime-gpu 1.31.1 holds."""

XGBOOST = {
    "gpu_need": ("optional", INFERRED),
    "sm_sass": ({"xgboost": ["50", "60", "70", "80", "90", "100", "120"]}, EXACT),
    "sm_ptx": ({"xgboost": ["120"]}, EXACT),
    "packages": ([{"name": "xgboost", "version": "3.2.0", "path": "x"}], EXACT),
}
"""What xgboost 3.2.0 holds."""


def weights(mib: int, kind: str = "safetensors", path: str = "model/model") -> tuple[Any, Any]:
    """Return the fact about a file of weights."""
    return [{"path": f"{path}.{kind}", "format": kind, "bytes": mib << 20}], EXACT


def profile(
    facts: Mapping[str, tuple[Any, Confidence]] | None = None,
    *,
    platforms: Sequence[str] = ("linux/amd64",),
    env: Mapping[str, str] | None = None,
    cmd: Sequence[str] = (),
) -> ImageProfile:
    """Return an image with these facts, each a value and how sure it is."""
    config = ImageConfig(env=env or {}, cmd=tuple(cmd))
    return ImageProfile(
        image=image().model_copy(update={"platforms": tuple(platforms), "config": config}),
        facts={
            name: Evidence(value=value, source=f"the source of {name}", confidence=confidence)
            for name, (value, confidence) in (facts or {}).items()
        },
    )


def node(
    *gpus: Kind,
    name: str = "n",
    architecture: str = "amd64",
    millicores: int = 4000,
    memory: int = 8192,
    driver: str = "580.65.06",
    labels: Mapping[str, str] | None = None,
    **facts: Any,
) -> NodeProfile:
    """Return a node on which NVML told of these GPUs; other facts by name."""
    told: dict[str, Any] = dict(facts)
    if gpus:
        told["driver"] = driver
        told["gpus"] = [
            {
                "uuid": f"GPU-{number}",
                "name": kind,
                "memory_total_mib": mib,
                "compute_capability": sm,
            }
            for number, (kind, sm, mib) in enumerate(gpus)
        ]
    return NodeProfile(
        node=Node(
            name=name,
            architecture=architecture,
            cpu_millicores=millicores,
            memory_mib=memory,
            gpus=len(gpus),
            labels=labels or {},
        ),
        facts={
            each: Evidence(value=value, source="NVML", confidence=EXACT)
            for each, value in told.items()
        },
    )


def labelled(kind: Kind | None = None, *, gpus: int = 1) -> NodeProfile:
    """Return a node of a cluster whose labels tell of its GPUs, or do not."""
    found = node(*([kind] if kind else []))
    facts = {
        name: fact.model_copy(update={"confidence": DECLARED}) for name, fact in found.facts.items()
    }
    offers = found.node.model_copy(update={"gpus": gpus})
    return NodeProfile(node=offers, facts=facts)


def planned(
    image: ImageProfile | None = None, nodes: Sequence[NodeProfile] = (), **spec: Any
) -> HardwarePlan:
    """Return what the rules make of it."""
    asked = VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec})
    return plan(Known(spec=asked, profile=image or profile(), nodes=nodes or (node(),)))


def verdicts(plan: HardwarePlan) -> dict[str, str]:
    """Return what each rule said."""
    return {each.rule: each.outcome for each in plan.verdicts}


def evidence(plan: HardwarePlan, rule: str) -> str:
    """Return why a rule said so."""
    return next(each.evidence for each in plan.verdicts if each.rule == rule)
