"""Layers of zstd:chunked: what is read of them, and what is done where they are not as they say."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engine_cli import EngineCli
from parts.handmade import RunningRegistry
from parts.image_cases import enormous
from parts.layers import SITE, chunked, elf, fat_binary, package, safetensors

from longshore.core.settings import Settings
from longshore.core.types import Evidence
from longshore.hardware.manifests import Platform
from longshore.hardware.plugin import Plugin

AMD64 = Platform(os="linux", architecture="amd64")
CONFIG: Mapping[str, Any] = {"os": "linux", "architecture": "amd64", "config": {}}
LARGEST_GPU = 192 << 30
FILES = {
    **package("xgboost", "3.2.0", owns=["xgboost"]),
    f"{SITE}/xgboost/lib/libxgboost.so": elf(fat_binary(["80", "90a"], ["90"])),
    "app/.wh.gone": b"",
    "data/large.csv": bytes(range(256)) * 2000,
    "models/a.safetensors": safetensors({"a": ("F16", [40_000], 80_000)}),
}
EXPECTED = {
    "gpu_need": "optional",
    "sm_sass": {"xgboost": ["80", "90a"]},
    "sm_ptx": {"xgboost": ["90"]},
    "weights": [
        {
            "path": "models/a.safetensors",
            "format": "safetensors",
            "bytes": len(FILES["models/a.safetensors"]),
            "parameters": {"F16": 40_000},
        }
    ],
}


async def facts_of(reference: str, state: Path) -> Mapping[str, Evidence]:
    plugin, settings = Plugin(wanted=AMD64), Settings(state=state)
    image = await plugin.longshore_resolve_image(reference, settings)
    return await plugin.longshore_profile_image(image, settings, lambda _: None)


def values(facts: Mapping[str, Evidence]) -> dict[str, Any]:
    return {name: facts[name].value for name in EXPECTED if name in facts}


def scan_of(facts: Mapping[str, Evidence]) -> dict[str, Any]:
    value = facts["scan"].value
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "prefix", ["io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."]
)
async def test_only_what_matters_is_read(
    registry: RunningRegistry, tmp_path: Path, prefix: str
) -> None:
    layer, noted = chunked(FILES, prefix=prefix)
    registry.image("chunked", "1", CONFIG, layers=(layer,), annotations=(noted,))
    facts = await facts_of(f"{registry.host}/chunked:1", tmp_path)
    assert values(facts) == EXPECTED
    scan = scan_of(facts)
    assert scan["complete"]
    assert scan["entries"] == len(FILES)
    assert 0 < scan["bytes"] < len(layer) / 2, "not all of it came"


async def test_a_layer_of_which_most_is_wanted_is_read_from_end_to_end(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    layer, noted = chunked({name: FILES[name] for name in FILES if name != "data/large.csv"})
    registry.image("wanted", "1", CONFIG, layers=(layer,), annotations=(noted,))
    facts = await facts_of(f"{registry.host}/wanted:1", tmp_path)
    assert values(facts) == EXPECTED
    assert scan_of(facts)["bytes"] == len(layer)


async def test_the_same_layer_without_its_table_tells_the_same(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    layer, _ = chunked(FILES)
    registry.image("unnoted", "1", CONFIG, layers=(layer,))
    facts = await facts_of(f"{registry.host}/unnoted:1", tmp_path)
    assert values(facts) == EXPECTED
    assert scan_of(facts)["bytes"] == len(layer)


async def test_weights_that_no_gpu_could_hold_are_told_by_their_header_alone(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    parameters = 200_000_000_000
    # Of 400 GB only the first part is there, and only that is asked for.
    layer, noted = enormous(parameters)
    registry.image("enormous", "1", CONFIG, layers=(layer,), annotations=(noted,))
    facts = await facts_of(f"{registry.host}/enormous:1", tmp_path)
    told: Any = facts["weights"].value
    assert [each["parameters"] for each in told] == [{"BF16": parameters}]
    assert told[0]["bytes"] > LARGEST_GPU
    assert scan_of(facts)["complete"]


def _swapped(table: Any) -> Any:
    files = [each for each in table["entries"] if each.get("digest")]
    files[0]["digest"], files[1]["digest"] = files[1]["digest"], files[0]["digest"]
    return table


def _outside(table: Any) -> Any:
    table["entries"][0]["endOffset"] = 1 << 40
    return table


def _overlapping(table: Any) -> Any:
    table["entries"][1]["offset"] = table["entries"][0]["offset"]
    return table


def _wrong_part(table: Any) -> Any:
    for each in table["entries"]:
        if "chunkDigest" in each:
            each["chunkDigest"] = "sha256:" + "0" * 64
    return table


def _shorter(table: Any) -> Any:
    for each in table["entries"]:
        each["size"] = 20
    return table


@pytest.mark.parametrize(
    "change",
    [
        _swapped,
        _outside,
        _overlapping,
        _wrong_part,
        _shorter,
        lambda _: [],
        lambda _: {"version": 1},
        lambda _: {"entries": [1]},
        lambda _: {"entries": [{"type": "reg"}]},
        lambda _: {"entries": []},
        lambda _: b'{"x": ' + b"[" * 200_000,
        lambda table: json.dumps(table).encode()[:-50],
    ],
    ids=range(12),
)
async def test_a_table_that_lies_is_left_alone_and_the_layer_read_from_end_to_end(
    registry: RunningRegistry, tmp_path: Path, change: Any
) -> None:
    layer, noted = chunked(FILES, change=change)
    registry.image("lying", "1", CONFIG, layers=(layer,), annotations=(noted,))
    facts = await facts_of(f"{registry.host}/lying:1", tmp_path)
    assert values(facts) == EXPECTED
    assert scan_of(facts)["bytes"] == len(layer)


async def test_a_table_with_another_digest_is_left_alone(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    layer, noted = chunked(FILES)
    checksum = next(name for name in noted if name.endswith("checksum"))
    registry.image(
        "forged", "1", CONFIG, layers=(layer,),
        annotations=({**noted, checksum: "sha256:" + "0" * 64},),
    )  # fmt: skip
    facts = await facts_of(f"{registry.host}/forged:1", tmp_path)
    assert values(facts) == EXPECTED
    assert scan_of(facts)["bytes"] == len(layer)


@contextmanager
def built(engine: EngineCli, context: Path) -> Iterator[str]:
    image = f"localhost/longshore-chunked-{uuid.uuid4().hex}"
    engine.build(context, image, cached=False)
    try:
        yield image
    finally:
        engine.run("rmi", image)


@pytest.mark.engine
async def test_podmans_own_layers_are_read_by_their_table(
    registry: RunningRegistry, engine_cli: EngineCli, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    for path, content in FILES.items():
        if ".wh." not in path:
            file = context / "files" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    (context / "Containerfile").write_text("FROM scratch\nCOPY files/ /\n")
    reference = f"{registry.host}/podman:1"
    with built(engine_cli, context) as name:
        push = ["push", "--quiet", "--tls-verify=false", "--compression-format=zstd:chunked"]
        try:
            engine_cli.run(*push, name, f"docker://{reference}")
        except subprocess.CalledProcessError:
            pytest.skip("this engine writes no zstd:chunked")
    facts = await facts_of(reference, tmp_path / "state")
    assert values(facts) == EXPECTED
    assert 0 < scan_of(facts)["bytes"] < 100_000
