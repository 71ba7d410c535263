"""Which version of CUDA an image brings, from the surest source that there is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from longshore.core.types import Confidence, Evidence, ImageConfig
from longshore.hardware.facts.software import Software, required

_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?|cuda-cudart|cudatoolkit")
_LOCAL = re.compile(r"(?:^|_)cu(?:da)?([0-9]{2})\.?([0-9])(?:[^0-9]|$)")
_REQUIRED = re.compile(
    r"(?:cuda-toolkit|nvidia-cuda-runtime(?:-cu[0-9]+)?)(?:\[[^\]]*\])?\s*\(?==\s*"
    r"([0-9]+(?:\.[0-9]+)*)"
)
_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,4}){0,3}")


@dataclass(frozen=True, slots=True)
class _Clue:
    version: str
    source: str
    confidence: Confidence


def cuda_version(config: ImageConfig, software: Software) -> Evidence | None:
    """Return the fact: of the first source that says something.

    Where another source tells of another major version, it is named, and nothing is sure.
    """
    clues = list(_clues(config, software))
    if not clues:
        return None
    first = clues[0]
    others = [each for each in clues if _major(each.version) != _major(first.version)]
    if not others:
        return Evidence(value=first.version, source=first.source, confidence=first.confidence)
    also = "; ".join(f"{each.version} by {each.source}" for each in others[:3])
    return Evidence(
        value=first.version,
        source=f"{first.source}; but also {also}",
        confidence=Confidence.INFERRED,
    )


def _clues(config: ImageConfig, software: Software) -> Iterator[_Clue]:
    """Yield what there is, the surest first; of equals, the newest version."""
    if _VERSION.fullmatch(told := config.env.get("CUDA_VERSION", "")):
        yield _Clue(told, "environment variable CUDA_VERSION", Confidence.DECLARED)
    for clues in (
        _runtimes(software),
        _local_versions(software),
        _requirements(software, config.architecture),
        _libraries(software),
    ):
        yield from sorted(clues, key=lambda each: _key(each.version), reverse=True)


def _runtimes(software: Software) -> Iterator[_Clue]:
    for package, digest in software.packages:
        if _RUNTIME.fullmatch(package.name) and _VERSION.match(package.version):
            source = f"{package.name} {package.version} (layer {digest}: /{package.path})"
            yield _Clue(_release(package.version), source, Confidence.EXACT)


def _local_versions(software: Software) -> Iterator[_Clue]:
    for package, digest in software.named("torch", "pytorch", "torchvision", "torchaudio"):
        if match := _LOCAL.search(package.version.partition("+")[2]):
            source = f"{package.name} {package.version} (layer {digest}: /{package.path})"
            yield _Clue(f"{match[1]}.{match[2]}", source, Confidence.DECLARED)


def _requirements(software: Software, architecture: str) -> Iterator[_Clue]:
    for package, digest in software.named("torch"):
        for each in required(package, architecture):
            if match := _REQUIRED.match(each):
                told = each.partition(";")[0].strip()
                source = f"torch requires {told} (layer {digest}: /{package.path})"
                yield _Clue(_release(match[1]), source, Confidence.DECLARED)


def _libraries(software: Software) -> Iterator[_Clue]:
    for library, found in software.libraries:
        if library.name == "libcudart" and library.version:
            yield _Clue(_release(library.version), found.where, Confidence.EXACT)


def _release(version: str) -> str:
    """Return ``12.4`` for ``12.4.127``, which is a version of the runtime alone."""
    match = _VERSION.match(version)
    return ".".join(match[0].split(".")[:2]) if match else version


def _major(version: str) -> str:
    return version.partition(".")[0]


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in version.split("."))
