"""A model's ``config.json``: of its sizes, those that its key-value cache depends on.

The keys are those of Hugging Face's transformers. Nothing else of it is taken.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from longshore.hardware.findings.kinds import ModelConfig
from longshore.hardware.findings.reading import Held
from longshore.hardware.tar import Content

NAME = "config.json"
LARGEST = 256 << 10
"""Bytes; real ones have some thousand, and those with many names of classes some ten thousand."""

_MOST_LAYERS = 4096
_MOST_HEADS = 65_536
_MOST_WIDTH = 1 << 20
_DTYPE = re.compile(r"[a-z0-9_]{1,32}")
_BEGINS = re.compile(rb"\s*\{")


def matters(path: str) -> bool:
    """Return whether a file of this name is read here."""
    return path.rpartition("/")[2] == NAME


def reader(
    path: str, size: int, head: bytes, most: int, tell: Callable[[ModelConfig], None]
) -> Content | None:
    """Return what reads a file that may be a model's configuration; None where it is none.

    Args:
        path: of the file.
        size: its bytes.
        head: the first of them.
        most: most bytes of it to hold in memory.
        tell: called with what was found.
    """
    if size > min(most, LARGEST) or not _BEGINS.match(head):
        return None

    def read(content: bytes) -> None:
        if found := model_config(path, content):
            tell(found)

    return Held(size, read)


def model_config(path: str, content: bytes) -> ModelConfig | None:
    """Return the sizes in a configuration; None where it has not all of them, or odd ones."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    # Latent attention keeps something else in its cache, for which these sizes do not count.
    if not isinstance(told, dict) or told.get("kv_lora_rank") is not None:
        return None
    layers = _number(told, "num_hidden_layers", _MOST_LAYERS)
    heads = _number(told, "num_attention_heads", _MOST_HEADS)
    kv_heads = _number(told, "num_key_value_heads", _MOST_HEADS) or heads
    width = _number(told, "hidden_size", _MOST_WIDTH)
    head_dim = _number(told, "head_dim", _MOST_WIDTH)
    if head_dim is None and width and heads and width % heads == 0:
        head_dim = width // heads
    if layers is None or kv_heads is None or head_dim is None:
        return None
    dtype = told.get("torch_dtype") or told.get("dtype")
    known = isinstance(dtype, str) and _DTYPE.fullmatch(dtype)
    return ModelConfig(
        path=path,
        layers=layers,
        kv_heads=kv_heads,
        head_dim=head_dim,
        dtype=dtype if known and isinstance(dtype, str) else "",
    )


def _number(told: dict[str, Any], name: str, most: int) -> int | None:
    number = told.get(name)
    fits = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= most
    return number if fits else None
