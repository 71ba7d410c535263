"""A model's configuration: which sizes are believed, and what is made to do harm."""

import json
from typing import Any

import pytest
from parts.layers import gzipped, tar, zstandard
from parts.reading import BOUNDS, read

from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.findings.kinds import Finding, ModelConfig
from longshore.hardware.findings.model_config import LARGEST

SIZES = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096}


def told(content: bytes, bounds: ImagesSettings = BOUNDS) -> Finding | None:
    found = read(gzipped(tar({"m/config.json": content})), bounds).findings
    return found[0] if found else None


def sizes(**changed: Any) -> bytes:
    given = {name: value for name, value in {**SIZES, **changed}.items() if value is not None}
    return json.dumps(given).encode()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (32, 32, 128, "")),
        ({"num_key_value_heads": 8, "torch_dtype": "float16"}, (32, 8, 128, "float16")),
        ({"head_dim": 256, "hidden_size": None, "dtype": "bfloat16"}, (32, 32, 256, "bfloat16")),
        ({"head_dim": None, "num_key_value_heads": None}, (32, 32, 128, "")),
        ({"torch_dtype": "../../etc"}, (32, 32, 128, "")),
        ({"torch_dtype": {"a": 1}}, (32, 32, 128, "")),
        ({"num_key_value_heads": "8"}, (32, 32, 128, "")),
    ],
)
def test_sizes_are_taken_where_they_are_numbers_that_can_be(
    changed: Any, expected: tuple[int, int, int, str]
) -> None:
    layers, heads, width, dtype = expected
    assert told(sizes(**changed)) == ModelConfig(
        path="m/config.json", layers=layers, kv_heads=heads, head_dim=width, dtype=dtype
    )


@pytest.mark.parametrize(
    "content",
    [
        sizes(num_hidden_layers=0),
        sizes(num_hidden_layers=-1),
        sizes(num_hidden_layers=True),
        sizes(num_hidden_layers=1e9),
        sizes(num_hidden_layers=10**9),
        sizes(num_attention_heads=None),
        sizes(hidden_size=4097),
        sizes(hidden_size=10**12),
        # Latent attention caches something else.
        sizes(kv_lora_rank=512),
        b"{}",
        b"[1]",
        b"{" * 100_000,
        b'{"a":' * 50_000,
        b'{"num_hidden_layers": ' + b"9" * 5000 + b"}",
        b"{" + b" " * (LARGEST + 1) + sizes()[1:],
        sizes()[:-5],
        b"\xff\xfe{}",
        b"",
    ],
    ids=range(18),
)
def test_what_is_odd_is_not_told(content: bytes) -> None:
    assert told(content) is None


def test_no_more_of_it_is_held_than_is_set() -> None:
    assert told(sizes(), BOUNDS.model_copy(update={"header": 10})) is None


def test_other_names_are_not_read() -> None:
    files = {"m/tokenizer_config.json": sizes(), "m/config.json.bak": sizes()}
    assert not read(gzipped(tar(files))).findings


def test_it_is_found_in_zstd_too() -> None:
    assert read(zstandard(tar({"m/config.json": sizes()}))).findings == (
        ModelConfig(path="m/config.json", layers=32, kv_heads=32, head_dim=128),
    )
