"""Whether an image needs a GPU, which ones its code is for, and which driver."""

import re
from collections.abc import Sequence

from longshore.core.types import Confidence, Evidence, ImageConfig
from longshore.hardware.facts.cuda_version import cuda_version
from longshore.hardware.facts.software import Software, required
from longshore.hardware.filesystem import Found
from longshore.hardware.findings.cuda import library
from longshore.hardware.findings.device_code import in_order
from longshore.hardware.findings.kinds import DeviceCode, Package

LABEL = "longshore.gpu"
NEEDS = ("none", "optional", "required")
MINIMUM_DRIVERS = {11: 450, 12: 525, 13: 580}
"""By CUDA's major version; docs.nvidia.com, CUDA Compatibility, "Minor Version Compatibility"."""

_ONLY_ON_GPUS = ("vllm", "tensorrt-llm", "sglang")
_ALSO_ON_GPUS = re.compile(r"onnxruntime-gpu|tensorflow-gpu|xgboost|cupy-cuda.*|jax-cuda.*-plugin")
_USES_WHAT_IS_THERE = ("tensorflow", "torch", "pytorch")
_HINTS = ("CUDA_VERSION", "NVIDIA_REQUIRE_CUDA", "NVIDIA_VISIBLE_DEVICES")
_NVIDIA = re.compile(r"(?:^|/)(?:usr/local/cuda[^/]*|(?:site|dist)-packages/nvidia)/")
_BUILT_FOR_CUDA = re.compile(r"(?:^|_)cu(?:da)?[0-9]")
_MOST_NAMED = 5


def gpu_facts(config: ImageConfig, software: Software, *, complete: bool) -> dict[str, Evidence]:
    """Return the facts.

    Args:
        config: of the image.
        software: what is in it.
        complete: whether all of it was read.
    """
    code = [each for each in software.code if not _is_nvidias(each[0].path)]
    facts = {}
    if need := _need(config, software, code, complete=complete):
        facts["gpu_need"] = need
    facts |= _architectures(software, code, complete=complete)
    if version := cuda_version(config, software):
        facts["cuda_version"] = version
        facts |= _driver(version, software)
    return facts


def _need(
    config: ImageConfig,
    software: Software,
    code: Sequence[tuple[DeviceCode, Found]],
    *,
    complete: bool,
) -> Evidence | None:
    declared = config.labels.get(LABEL, "").strip().lower()
    if declared in NEEDS:
        return Evidence(value=declared, source=f"label {LABEL}", confidence=Confidence.DECLARED)
    only = [each for each in software.named(*_ONLY_ON_GPUS) if not _for_cpus(each[0])]
    if only:
        return _inferred("required", _packages(only))
    also = [
        each for each in software.packages if _also_on_gpus(each[0], software, config.architecture)
    ]
    if also:
        return _inferred("optional", _packages(also))
    if code:
        files = ", ".join(found.where for _, found in code[:_MOST_NAMED])
        return _inferred("optional", f"code for GPUs in {files}")
    return _without_use(config, software, complete=complete)


def _without_use(config: ImageConfig, software: Software, *, complete: bool) -> Evidence | None:
    """Return the need of an image in which nothing is known to use a GPU."""
    hints = [name for name in _HINTS if config.env.get(name, "void") not in {"void", "none", ""}]
    told = ", ".join(f"{name}={config.env[name]}"[:80] for name in hints)
    if not complete:
        return _inferred("optional", f"environment: {told}") if hints else None
    if software.libraries or hints:
        source = f"environment: {told}" if hints else software.libraries[0][1].where
        return Evidence(
            value="unknown",
            source=f"it brings CUDA ({source}), and nothing that is known to use it",
            confidence=Confidence.UNKNOWN,
        )
    return _inferred("none", "all files were read, and none is of CUDA or has code for GPUs")


def _inferred(value: str, source: str) -> Evidence:
    return Evidence(value=value, source=source, confidence=Confidence.INFERRED)


def _packages(found: Sequence[tuple[Package, str]]) -> str:
    return ", ".join(
        f"{each.name} {each.version} (layer {digest}: /{each.path})"
        for each, digest in found[:_MOST_NAMED]
    )


def _for_cpus(package: Package) -> bool:
    return "cpu" in package.version.partition("+")[2]


def _also_on_gpus(package: Package, software: Software, architecture: str) -> bool:
    if _for_cpus(package):
        return False
    if _ALSO_ON_GPUS.fullmatch(package.name):
        return True
    if package.name not in _USES_WHAT_IS_THERE:
        return False
    local = package.version.partition("+")[2]
    brings_code = any(software.owner(code.path) == package.name for code, _ in software.code)
    requires = required(package, architecture)
    return bool(_BUILT_FOR_CUDA.search(local) or requires or brings_code)


def _architectures(
    software: Software, code: Sequence[tuple[DeviceCode, Found]], *, complete: bool
) -> dict[str, Evidence]:
    """Return which GPUs the code is for, by the package that it is of.

    Each package that is used must find its own on a GPU, so they are not joined. CUDA's own
    libraries are left out: they are made for all GPUs that their version knows.
    """
    facts = {}
    for name, kind in (("sm_sass", "machine code"), ("sm_ptx", "PTX")):
        found: dict[str, set[str]] = {}
        files = []
        for each, where in code:
            if held := each.sass if name == "sm_sass" else each.ptx:
                found.setdefault(software.owner(each.path), set()).update(held)
                files.append(where.where)
        if found:
            more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
            facts[name] = Evidence(
                value={owner: list(in_order(held)) for owner, held in sorted(found.items())},
                source=f"headers of the {kind} in {', '.join(files[:_MOST_NAMED])}{more}",
                confidence=Confidence.EXACT if complete else Confidence.INFERRED,
            )
    return facts


def _driver(version: Evidence, software: Software) -> dict[str, Evidence]:
    major = str(version.value).partition(".")[0]
    driver = MINIMUM_DRIVERS.get(int(major)) if major.isdigit() else None
    if driver is None:
        return {}
    source = f"CUDA {major}.x needs driver {driver} or newer; CUDA version: {version.source}"
    confidence = version.confidence
    compat = next(
        (found for each, found in software.libraries if "/compat" in f"/{each.path}"), None
    )
    if compat:
        # With it, GPUs for data centres make do with an older one.
        source += f"; {compat.where} may serve older ones on GPUs for data centres"
        confidence = Confidence.INFERRED
    return {"min_driver": Evidence(value=driver, source=source, confidence=confidence)}


def _is_nvidias(path: str) -> bool:
    return library(path) is not None or _NVIDIA.search(path) is not None
