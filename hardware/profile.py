"""From what was found in an image to facts about it, each with its evidence.

A pure function: the same findings give the same facts. What nobody can back is left out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longshore.core.types import Confidence, Evidence, Image
from longshore.hardware.facts.config import config_facts
from longshore.hardware.facts.gpu import gpu_facts
from longshore.hardware.facts.software import Software
from longshore.hardware.facts.threads import thread_facts
from longshore.hardware.filesystem import in_image
from longshore.hardware.scan import Scan

if TYPE_CHECKING:
    from pydantic import JsonValue

MOST_PACKAGES = 500
MOST_WEIGHTS = 200
MOST_CONFIGS = 20
_MOST_LAYERS_NAMED = 3


def profile(image: Image, platform: str, scan: Scan | None) -> dict[str, Evidence]:
    """Return the facts.

    Args:
        image: resolved.
        platform: that was read of those that it is offered for.
        scan: what the layers hold; None where they were not to be read.
    """
    config = image.config
    facts = config_facts(image, platform)
    software = Software(in_image(scan.layers) if scan else (), config.env)
    complete = scan is not None and scan.complete
    facts |= gpu_facts(config, software, complete=complete)
    facts |= thread_facts(config)
    if scan is not None:
        facts |= _contents(software, complete=complete)
        facts["scan"] = _scanned(scan)
    return facts


def _contents(software: Software, *, complete: bool) -> dict[str, Evidence]:
    sure = Confidence.EXACT if complete else Confidence.INFERRED
    facts = {}
    if software.packages:
        packages: list[JsonValue] = [
            {"name": each.name, "version": each.version, "path": each.path}
            for each, _ in software.packages[:MOST_PACKAGES]
        ]
        digests = [digest for _, digest in software.packages]
        facts["packages"] = Evidence(
            value=packages,
            source=f"{_layers(digests)}: dist-info, egg-info and conda-meta; "
            f"{len(software.packages)} in all",
            confidence=sure,
        )
    if software.weights:
        weights: list[JsonValue] = [
            each.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True)
            for each, _ in software.weights[:MOST_WEIGHTS]
        ]
        digests = [digest for _, digest in software.weights]
        facts["weights"] = Evidence(
            value=weights,
            source=f"{_layers(digests)}: the files' names, sizes and headers; "
            f"{len(software.weights)} in all",
            confidence=sure,
        )
    if software.configs:
        configs: list[JsonValue] = [
            each.model_dump(mode="json", exclude={"kind"})
            for each, _ in software.configs[:MOST_CONFIGS]
        ]
        named = ", ".join(found.where for _, found in software.configs[:_MOST_LAYERS_NAMED])
        facts["model_config"] = Evidence(value=configs, source=named, confidence=sure)
    return facts


def _scanned(scan: Scan) -> Evidence:
    layers = scan.layers
    noted = [f"layer {each.digest[:19]}…: {text}" for each in layers for text in each.skipped]
    value: dict[str, JsonValue] = {
        "complete": scan.complete,
        "layers": len(layers),
        "layers_read": sum(each.complete for each in layers),
        "bytes": sum(each.size for each in layers),
        "unpacked_bytes": sum(each.unpacked for each in layers),
        "entries": sum(each.entries for each in layers),
        "skipped": [*scan.problems, *noted],
    }
    return Evidence(
        value=value,
        source="the layers as the registry sent them, checked against their digests",
        confidence=Confidence.EXACT,
    )


def _layers(digests: Sequence[str]) -> str:
    named = list(dict.fromkeys(digests))
    shown = ", ".join(named[:_MOST_LAYERS_NAMED])
    more = len(named) - _MOST_LAYERS_NAMED
    return f"layer {shown}{f' and {more} more' if more > 0 else ''}"
