"""Files that hold a model's parameters: what their headers say, and else how large they are.

None of them is ever loaded or unpickled: a pickle is a program.
"""

import json
import re
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from longshore.hardware.findings.gguf import read_gguf
from longshore.hardware.findings.kinds import Weights
from longshore.hardware.findings.reading import Held
from longshore.hardware.tar import Content

LONGEST_SAFETENSORS_HEADER = 100_000_000
"""What the format's own library takes."""

_LENGTH = 8
_GGUF_TIMES = 4
_BY_NAME = {
    "pytorch": re.compile(r"\.(?:pt|pth|ckpt)$|(?:^|/)(?:pytorch_model|diffusion_\w+)[^/]*\.bin$"),
    "onnx": re.compile(r"\.(?:onnx|onnx_data|onnx\.data)$"),
    "pickle": re.compile(r"\.(?:pkl|pickle|joblib|cloudpickle)$"),
    "tensorflow": re.compile(
        r"(?:^|/)saved_model\.pb$|/variables/variables\.data-[0-9-]+of-[0-9]+$"
    ),
    "keras": re.compile(r"\.(?:h5|keras)$"),
    "tflite": re.compile(r"\.tflite$"),
    "tensorrt": re.compile(r"\.(?:engine|plan)$"),
    "flax": re.compile(r"\.msgpack$"),
    "xgboost": re.compile(r"\.ubj$"),
    "catboost": re.compile(r"\.cbm$"),
    "safetensors": re.compile(r"\.safetensors$"),
    "gguf": re.compile(r"\.gguf$"),
}
Tell = Callable[[Weights], None]


def reader(path: str, size: int, head: bytes, most: int, tell: Tell) -> Content | None:
    """Return what reads a file of weights; None where it is none, or was told of already.

    Args:
        path: of the file.
        size: its bytes.
        head: the first of them.
        most: most bytes of a header to hold in memory.
        tell: called with what was found.
    """
    if head.startswith(b"GGUF"):
        # Whole vocabularies stand there, and they take no more room once they are read.
        held = min(size, _GGUF_TIMES * most)
        return Held(held, lambda content: tell(_gguf(path, size, content)))
    length = safetensors_length(size, head)
    if length is not None:
        if length > most:
            why = f"its header of {length} bytes is longer than the {most} that are read"
            tell(Weights(path=path, format="safetensors", bytes=size, problem=why))
            return None
        return Held(_LENGTH + length, lambda content: tell(_safetensors(path, size, content)))
    if format_ := format_of(path):
        problem = "it is not what its name says" if format_ in {"safetensors", "gguf"} else ""
        tell(Weights(path=path, format=format_, bytes=size, problem=problem))
    return None


def format_of(path: str) -> str | None:
    """Return the format of weights that a name stands for."""
    name = path.lower()
    return next((format_ for format_, rule in _BY_NAME.items() if rule.search(name)), None)


def safetensors_length(size: int, head: bytes) -> int | None:
    """Return the length of a file's header if it is one of safetensors."""
    if len(head) <= _LENGTH or head[_LENGTH : _LENGTH + 1] != b"{":
        return None
    (length,) = struct.unpack_from("<Q", head)
    fits = len("{}") <= length <= min(size - _LENGTH, LONGEST_SAFETENSORS_HEADER)
    return int(length) if fits else None


def tells_enough(size: int, content: bytes, most: int) -> bool:
    """Return whether the first bytes of a file are enough to know what it holds.

    Args:
        size: of the file.
        content: the first of its bytes.
        most: most bytes of a header to hold in memory.
    """
    if content.startswith(b"GGUF"):
        try:
            read_gguf(content, size)
        except ValueError:
            return False
        return True
    length = safetensors_length(size, content)
    return len(content) >= _LENGTH + (length if length is not None and length <= most else 1)


def _safetensors(path: str, size: int, content: bytes) -> Weights:
    try:
        parameters = _count(json.loads(content[_LENGTH:]), size - len(content))
    except (ValueError, RecursionError) as error:
        why = f"its header cannot be read: {str(error)[:100] or type(error).__name__}"
        return Weights(path=path, format="safetensors", bytes=size, problem=why)
    return Weights(path=path, format="safetensors", bytes=size, parameters=parameters)


def _count(header: Any, room: int) -> dict[str, int]:
    """Return how many numbers of each type there are.

    Raises:
        ValueError: the header is none, or speaks of more than the file holds.
    """
    if not isinstance(header, dict):
        raise ValueError("it is no object")
    counts: Counter[str] = Counter()
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        match tensor:
            case {
                "dtype": str(dtype),
                "shape": list(shape),
                "data_offsets": [int(begin), int(end)],
            } if all(isinstance(each, int) and each >= 0 for each in shape):
                if not 0 <= begin <= end <= room or len(dtype) > 16:  # noqa: PLR2004 - F8_E4M3FNUZ
                    raise ValueError("a tensor lies outside of the file")
                number = 1
                for each in shape:
                    number *= each
                # No type has less than a quarter of a byte for a number.
                if number > 4 * (end - begin):
                    raise ValueError("a tensor has more numbers than bytes")
                counts[dtype] += number
            case _:
                raise ValueError("a tensor is not described as tensors are")
    return dict(counts)


def _gguf(path: str, size: int, content: bytes) -> Weights:
    try:
        parameters = read_gguf(content, size)
    except ValueError as error:
        return Weights(path=path, format="gguf", bytes=size, problem=f"its header {error}")
    return Weights(path=path, format="gguf", bytes=size, parameters=parameters)
