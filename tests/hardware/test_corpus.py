"""Inspection, measured: images with known facts in a real registry, and what is told of them."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from parts.handmade import RunningRegistry
from parts.image_cases import Case, torch
from parts.image_corpus import CASES
from parts.layers import gzipped, tar

from longshore.core.settings import Settings
from longshore.core.types import Evidence
from longshore.hardware.manifests import Platform
from longshore.hardware.plugin import Plugin

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"
BEGIN, END = "<!-- corpus: begin -->", "<!-- corpus: end -->"
FACTS = (
    *("gpu_need", "cuda_version", "min_driver", "sm_sass", "sm_ptx", "packages", "weights"),
    *("model_config", "variant", "threads", "labels"),
)
FOUND: dict[str, dict[str, Any]] = {}
"""What was told in this run, by the name of the case."""


def run_here(case: Case) -> bool:
    """Return whether a case is run: wheels are downloaded on demand alone."""
    return not case.wheels or bool(os.environ.get("LONGSHORE_CORPUS"))


def push(case: Case, registry: RunningRegistry) -> str:
    """Push a case's image; return its reference."""
    config = {
        "os": "linux",
        "architecture": case.architecture,
        "config": {"Env": [*case.env], "Labels": dict(case.labels), "Cmd": [*case.cmd]},
    }
    made = [each if isinstance(each, tuple) else (each, {}) for each in case.layers()]
    layers, noted = tuple(each[0] for each in made), tuple(each[1] for each in made)
    name = f"corpus/{CASES.index(case)}"
    pushed = registry.image(name, "1", config, layers=layers, annotations=noted)
    if case.beside:
        architecture = case.beside.split("/")[1]
        other = {"os": "linux", "architecture": architecture, "config": {}}
        decoy = registry.image(name, "2", other, layers=(gzipped(tar(torch("2.14.1"))),))
        own = f"linux/{case.architecture}/{case.variant}".rstrip("/")
        registry.index(name, "1", {case.beside: decoy, own: pushed})
    return f"{registry.host}/{name}:1"


async def facts_of(case: Case, registry: RunningRegistry, state: Path) -> dict[str, Evidence]:
    plugin = Plugin(wanted=Platform(os="linux", architecture=case.architecture))
    settings = Settings(state=state)
    image = await plugin.longshore_resolve_image(push(case, registry), settings)
    facts = dict(await plugin.longshore_profile_image(image, settings, lambda _: None))
    again = await plugin.longshore_profile_image(image, settings, lambda _: None)
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
    found = told(facts)
    FOUND[case.name] = {name: found[name] for name in case.only or found if name in found}
    assert FOUND[case.name] == case.expected
    scan = facts["scan"].value
    assert isinstance(scan, dict)
    assert (scan["complete"], scan["skipped"]) == (True, [])
    assert all(each.source for each in facts.values())


# --- measured over all of them --------------------------------------------------------------------


def table(cases: list[Case], found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table: how often a fact was told, and how often rightly."""
    yield "| fact | images of which it is known | told | right | precision | recall |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for fact in FACTS:
        known = [each for each in cases if fact in each.expected]
        said = [each for each in cases if fact in found[each.name]]
        right = sum(found[each.name][fact] == each.expected.get(fact) for each in said)
        precision, recall = right / max(len(said), 1), right / max(len(known), 1)
        yield (
            f"| `{fact}` | {len(known)} | {len(said)} | {right} | {precision:.2f} | {recall:.2f} |"
        )


def write(page: Path, lines: list[str]) -> None:
    """Put lines between the marks of a page."""
    text = page.read_text()
    marked = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    assert marked.search(text), f"{page} has no place for the table"
    page.write_text(marked.sub("\n".join([BEGIN, *lines, END]).replace("\\", r"\\"), text))


def test_the_corpus_is_measured() -> None:
    cases = [each for each in CASES if each.name in FOUND]
    if len(cases) < sum(map(run_here, CASES)):
        pytest.skip("not all of the corpus was run")
    lines = [
        f"{len(cases)} images, made by `make corpus`:",
        "",
        *(f"- {each.name}" for each in cases),
        "",
        *table(cases, FOUND),
    ]
    print("\n".join(lines))
    if os.environ.get("LONGSHORE_CORPUS_PAGE"):
        write(PAGE, lines)
    for line in lines[-len(FACTS) :]:
        assert line.endswith("| 1.00 | 1.00 |"), line


def test_what_is_told_wrongly_or_not_at_all_shows_in_the_measure() -> None:
    cases = [
        Case("a", lambda: (), {"gpu_need": "none"}),
        Case("b", lambda: (), {"gpu_need": "required"}),
        Case("c", lambda: (), {}),
        Case("d", lambda: (), {"gpu_need": "none"}),
    ]
    found = {
        "a": {"gpu_need": "none"},
        "b": {"gpu_need": "none"},
        "c": {"gpu_need": "none"},
        "d": {},
    }
    assert "| `gpu_need` | 3 | 3 | 1 | 0.33 | 0.33 |" in list(table(cases, found))
