"""What a cluster labels a node with: NVIDIA's GPU feature discovery, and node feature discovery."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from longshore.core.types import Evidence, Node
from longshore.hardware.node.cpu import level
from longshore.hardware.node.facts import declared, inferred
from longshore.hardware.node.nvml import Gpu

if TYPE_CHECKING:
    from pydantic import JsonValue

GPU = "nvidia.com/"
FEATURES = "feature.node.kubernetes.io/"
_CPUID = f"{FEATURES}cpu-cpuid."
_MODEL = f"{FEATURES}cpu-model."
_MOST_LABELS = 300
_MOST_GPUS = 64
_KERNELS = {
    "FMA3": "fma",
    "LZCNT": "abm",
    "SSE3": "pni",
    "SSE4": "sse4_1",
    "SSE42": "sse4_2",
    "LAHF": "lahf_lm",
    "AVX512VNNI": "avx512_vnni",
    "AVX512BF16": "avx512_bf16",
    "AVX512FP16": "avx512_fp16",
    "AVX512VBMI2": "avx512_vbmi2",
    "AVX512BITALG": "avx512_bitalg",
    "AVX512VPOPCNTDQ": "avx512_vpopcntdq",
    "AVX512VP2INTERSECT": "avx512_vp2intersect",
    "AVXVNNI": "avx_vnni",
    "AMXTILE": "amx_tile",
    "AMXBF16": "amx_bf16",
    "AMXINT8": "amx_int8",
    "AMXFP16": "amx_fp16",
}
"""What the kernel calls a feature of the CPU, where that is more than a matter of capitals."""
_NOT_LABELLED = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}) | {
    *("bmi1", "bmi2", "f16c", "abm", "movbe", "xsave"),
}
"""Node feature discovery leaves these out unless told otherwise; no CPU with AVX2 lacks them."""


def label_facts(node: Node) -> dict[str, Evidence]:
    """Return the facts that a node's labels tell, and no others."""
    labels = node.labels
    told: dict[str, JsonValue] = {
        name: value for name, value in sorted(labels.items()) if name.startswith((GPU, FEATURES))
    }
    kept = dict(list(told.items())[:_MOST_LABELS])
    facts = {
        "labels": declared(kept, "the node's labels about hardware"),
        "cpu_architecture": declared(node.architecture, "the backend"),
        "memory_mib": declared(node.memory_mib, "the backend"),
    }
    return facts | _gpus(labels) | _driver(labels) | _cpu(labels)


def _gpus(labels: Mapping[str, str]) -> dict[str, Evidence]:
    count = _whole(labels.get(f"{GPU}gpu.count", ""))
    if count is None or count > _MOST_GPUS:
        return {}
    source = f"labels {GPU}gpu.count, .product, .memory, .compute.major, .compute.minor"
    major, minor = (labels.get(f"{GPU}gpu.compute.{each}", "") for each in ("major", "minor"))
    known = {
        "name": labels.get(f"{GPU}gpu.product"),
        "memory_total_mib": _whole(labels.get(f"{GPU}gpu.memory", "")),
        "compute_capability": f"{major}.{minor}" if major.isdigit() and minor.isdigit() else None,
    }
    unread = {
        name: "the node's labels do not tell"
        for name in Gpu.model_fields
        if known.get(name) is None and name not in {"index", "lost", "unread"}
    }
    gpus: list[JsonValue] = [
        Gpu.model_validate({"index": index, **known, "unread": unread}).model_dump(mode="json")
        for index in range(count)
    ]
    return {"gpus": declared(gpus, source)}


def _driver(labels: Mapping[str, str]) -> dict[str, Evidence]:
    facts = {}
    for fact, full, parts in (
        ("driver", "cuda.driver-version.full", "cuda.driver"),
        ("cuda", "cuda.runtime-version.full", "cuda.runtime"),
    ):
        # Older releases write the second alone.
        version = labels.get(f"{GPU}{full}") or ".".join(
            filter(None, (labels.get(f"{GPU}{parts}.{each}") for each in ("major", "minor", "rev")))
        )
        if re.fullmatch(r"[0-9]+(\.[0-9]+)*", version):
            source = f"label {GPU}{full}" if f"{GPU}{full}" in labels else f"labels {GPU}{parts}.*"
            facts[fact] = declared(version, source)
    return facts


def _cpu(labels: Mapping[str, str]) -> dict[str, Evidence]:
    found = [
        name.removeprefix(_CPUID)
        for name, value in labels.items()
        if name.startswith(_CPUID) and value == "true"
    ]
    if not found:
        return {}
    source = f"labels {_CPUID}*, some of which are left out by default"
    flags = sorted(_KERNELS.get(each, each.lower()) for each in found)
    told: list[JsonValue] = [*flags]
    facts = {"cpu_flags": declared(told, source)}
    if "avx2" in flags:
        facts["cpu_level"] = inferred(level({*flags, *_NOT_LABELLED}), source)
    parts = [labels.get(f"{_MODEL}{each}", "") for each in ("vendor_id", "family", "id")]
    if all(parts):
        vendor, family, model = parts
        facts["cpu_model"] = declared(
            f"{vendor} family {family} model {model}", f"labels {_MODEL}*"
        )
    return facts


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None
