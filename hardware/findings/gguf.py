"""The header of a GGUF file: which tensors it holds, of which types.

As described by https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

import struct
from collections import Counter

_VERSIONS = (2, 3)
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Length of a value by its type."""
_STRING, _ARRAY = 8, 9
_MOST_TENSORS = 1_000_000
_MOST_VALUES = 1_000_000
_MOST_DIMENSIONS = 4
_DEEPEST = 4
_LARGEST = 1 << 62

_TYPES = (
    *("F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"),
    *("IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS"),
    *("I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8"),
    *("TQ1_0", "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4"),
)


def read_gguf(content: bytes, size: int) -> dict[str, int]:
    """Return how many parameters of each type a file holds.

    Args:
        content: its first bytes.
        size: of the whole file.

    Raises:
        ValueError: it cannot be read; the message goes on from "its header".
    """
    reader = _Reader(content, whole=len(content) == size)
    version, tensors, pairs = reader.numbers("<4xIQQ")
    if version not in _VERSIONS:
        raise ValueError(f"is of version {version}, and 2 and 3 are read")
    if tensors > _MOST_TENSORS or pairs > _MOST_VALUES:
        raise ValueError("speaks of more tensors or values than can be")
    for _ in range(pairs):
        reader.skip_string()
        (kind,) = reader.numbers("<I")
        reader.skip_value(kind)
    counts: Counter[str] = Counter()
    for _ in range(tensors):
        reader.skip_string()
        (dimensions,) = reader.numbers("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError("has a tensor of more than 4 dimensions")
        number = 1
        for each in reader.numbers(f"<{dimensions}Q"):
            number *= each
        kind, offset = reader.numbers("<IQ")
        if number > _LARGEST or offset > size:
            raise ValueError("has a tensor that is larger than the file")
        counts[_TYPES[kind] if kind < len(_TYPES) else f"type {kind}"] += number
    return dict(counts)


class _Reader:
    def __init__(self, content: bytes, *, whole: bool) -> None:
        self._content = content
        self._at = 0
        self._whole = whole
        self._values = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        start = self._at
        self._step(struct.calcsize(layout))
        return struct.unpack_from(layout, self._content, start)

    def skip_string(self) -> None:
        (length,) = self.numbers("<Q")
        self._step(length)

    def skip_value(self, kind: int, depth: int = 0) -> None:
        if kind in _FIXED:
            self._step(_FIXED[kind])
        elif kind == _STRING:
            self.skip_string()
        elif kind == _ARRAY and depth < _DEEPEST:
            each, count = self.numbers("<IQ")
            if each in _FIXED:
                self._step(_FIXED[each] * count)
                return
            self._values += count
            if self._values > _MOST_VALUES:
                raise ValueError("has more values than can be")
            for _ in range(count):
                self.skip_value(each, depth + 1)
        else:
            raise ValueError("has a value of an unknown type")

    def _step(self, length: int) -> None:
        self._at += length
        if self._at > len(self._content):
            raise ValueError(
                "ends too early" if self._whole else "is longer than what is read of it"
            )
