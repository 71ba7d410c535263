"""What files claim: headers that lie, and descriptions without end."""

import struct

import pytest
from parts.layers import (
    SITE,
    gzipped,
    safetensors,
    tar,
)
from parts.reading import BOUNDS, read

from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.findings.kinds import Package, Weights


def weights_of(name: str, content: bytes, bounds: ImagesSettings = BOUNDS) -> Weights:
    [found] = read(gzipped(tar({name: content})), bounds).findings
    assert isinstance(found, Weights)
    return found


def lying(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lying(b"{" + b" " * 10), "its header cannot be read"),
        (lying(b'{"a": ' + b"[" * 100_000 + b" "), "its header cannot be read"),
        (lying(b'{"a": 1}'), "not described as tensors are"),
        (
            lying(b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}', bytes(35)),
            "a tensor lies outside of the file",
        ),
        (
            lying(b'{"a": {"dtype": "F32", "shape": [999], "data_offsets": [0, 4]}}', bytes(4)),
            "more numbers than bytes",
        ),
        (
            lying(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', bytes(4)),
            "not described as tensors are",
        ),
        (lying(b'{"a":' + b"9" * 5000 + b"}"), "its header cannot be read"),
        (b"\xff" * 8 + b"{}", "it is not what its name says"),
        (b"short", "it is not what its name says"),
    ],
    ids=range(9),
)
def test_a_header_of_safetensors_that_lies_tells_of_no_parameters(
    content: bytes, problem: str
) -> None:
    found = weights_of("a.safetensors", content)
    assert problem in found.problem
    assert (found.bytes, found.parameters) == (len(content), {})


def test_a_header_of_safetensors_is_held_up_to_its_bound() -> None:
    content = safetensors({f"layer.{each}": ("F16", [2], 4) for each in range(200)})
    assert weights_of("a.safetensors", content).parameters == {"F16": 400}
    found = weights_of("a.safetensors", content, ImagesSettings(header=4096))
    assert "longer than the 4096 that are read" in found.problem
    assert not found.parameters


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "is of version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0), "more tensors or values than can be"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 60), "ends too early"),
        (b"GGUF" + struct.pack("<IQQQII", 3, 0, 1, 0, 9, 9) * 2, "ends too early"),
        (
            b"GGUF"
            + struct.pack("<IQQ", 3, 0, 1)
            + struct.pack("<QI", 0, 9)
            + struct.pack("<IQ", 9, 1) * 50,
            "a value of an unknown type",
        ),
        (
            b"GGUF" + struct.pack("<IQQQIIQ", 3, 0, 1, 0, 9, 8, 1 << 40) + bytes(99),
            "more values than can be",
        ),
        (
            b"GGUF" + struct.pack("<IQQQIQQIQ", 3, 1, 0, 0, 2, 1 << 40, 1 << 40, 0, 0),
            "larger than the file",
        ),
        (b"GGUF" + struct.pack("<IQQQI", 3, 1, 0, 0, 1 << 30), "more than 4 dimensions"),
        (b"GGUF", "ends too early"),
    ],
    ids=range(9),
)
def test_a_header_of_gguf_that_lies_tells_of_no_parameters(content: bytes, problem: str) -> None:
    found = weights_of("a.gguf", content)
    assert problem in found.problem
    assert not found.parameters


def test_a_pickle_is_never_loaded() -> None:
    evil = b"cos\nsystem\n(S'touch /tmp/longshore-was-here'\ntR."
    assert weights_of("a.pkl", evil).format == "pickle"


def test_an_endless_description_is_read_up_to_its_bound() -> None:
    text = b"Name: a\nVersion: 1\n" + b"Requires-Dist: nvidia-x\n" * 200_000
    [found] = read(gzipped(tar({f"{SITE}/a-1.dist-info/METADATA": text}))).findings
    assert isinstance(found, Package)
    assert len(found.requires) == 32
    [found] = read(
        gzipped(tar({"c/conda-meta/a.json": b'{"name": "a", "version": "1", "x": [1, 2]}'}))
    ).findings
    assert isinstance(found, Package)
    for broken in (b"[" * 100_000, b"{}", b"[]", b'{"name": 1, "version": []}', b"\xff"):
        assert not read(gzipped(tar({"c/conda-meta/a.json": broken}))).findings
