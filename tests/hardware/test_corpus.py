"""Inspection, measured: images with known facts in a real registry, and what is told of them."""

import os
from pathlib import Path
from typing import Any

import pytest
from parts.handmade import RunningRegistry
from parts.image_corpus import CASES, Case

from longshore.core.settings import Settings
from longshore.core.types import Evidence
from longshore.hardware.manifests import Platform
from longshore.hardware.plugin import Plugin

FACTS = (
    *("gpu_need", "cuda_version", "min_driver", "sm_sass", "sm_ptx", "packages", "weights"),
    *("threads", "labels"),
)


def run_here(case: Case) -> bool:
    """Return whether a case is run: wheels are downloaded on demand alone."""
    return not case.wheels or bool(os.environ.get("LONGSHORE_CORPUS"))


async def facts_of(case: Case, registry: RunningRegistry, state: Path) -> dict[str, Evidence]:
    config = {
        "os": "linux",
        "architecture": case.architecture,
        "config": {"Env": [*case.env], "Labels": dict(case.labels), "Cmd": [*case.cmd]},
    }
    number = CASES.index(case)
    registry.image(f"corpus/{number}", "1", config, layers=tuple(case.layers()))
    plugin = Plugin(wanted=Platform(os="linux", architecture=case.architecture))
    settings = Settings(state=state)
    reference = f"{registry.host}/corpus/{number}:1"
    image = await plugin.longshore_resolve_image(reference, settings)
    facts = dict(await plugin.longshore_profile_image(image, settings))
    again = await plugin.longshore_profile_image(image, settings)
    assert again == facts, "what was kept on disk says the same"
    return facts


def told(facts: dict[str, Evidence]) -> dict[str, Any]:
    """Return the facts in the form in which cases expect them."""
    found: dict[str, Any] = {name: facts[name].value for name in FACTS if name in facts}
    if "packages" in found:
        found["packages"] = sorted((each["name"], each["version"]) for each in found["packages"])
    if "weights" in found:
        found["weights"] = sorted(
            (each["path"], each["format"], each.get("parameters", {})) for each in found["weights"]
        )
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_image_is_told_as_it_is(
    case: Case, registry: RunningRegistry, tmp_path: Path
) -> None:
    if not run_here(case):
        pytest.skip("make corpus downloads its wheels")
    facts = await facts_of(case, registry, tmp_path)
    assert told(facts) == case.expected
    scan = facts["scan"].value
    assert isinstance(scan, dict)
    assert (scan["complete"], scan["skipped"]) == (True, [])
    assert all(each.source for each in facts.values())
