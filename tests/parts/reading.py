"""Reading one layer in the test's own process."""

import hashlib
import random
from collections.abc import Iterator

from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.layers import Layer, LayerReader

BOUNDS = ImagesSettings()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def pieces(content: bytes, seed: int | None) -> Iterator[bytes]:
    """Cut bytes into pieces; None leaves them whole."""
    # Reproducible, not secret.
    draw = random.Random(seed)  # noqa: S311
    at = 0
    while at < len(content):
        size = len(content) if seed is None else draw.choice((1, 7, 500, 512, 5000))
        yield content[at : at + size]
        at += size


def read(
    content: bytes,
    bounds: ImagesSettings = BOUNDS,
    seed: int | None = None,
    size: int | None = None,
) -> Layer:
    reader = LayerReader(sha256(content), size or len(content), bounds)
    for piece in pieces(content, seed):
        reader.feed(piece)
    return reader.finish()
