"""What must hold for any layer: it is read the same however it comes, or refused in words.

The bytes of an input are an archive, whose headers' checksums are mended first: otherwise nearly
all changes would end at the first header. The first byte says how it is packed and cut.
"""

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import suppress

from fuzz.targets import pieces
from parts.layers import SITE, chunked, elf, fat_binary, gguf, package, safetensors, tar

from longshore.hardware.bounds import ImagesSettings, Unreadable
from longshore.hardware.contents import Position, read_contents
from longshore.hardware.filesystem import in_image
from longshore.hardware.findings.gguf import read_gguf
from longshore.hardware.findings.packages import conda_package, python_package
from longshore.hardware.layers import Layer, LayerReader

BOUNDS = ImagesSettings(entries=1000, header=8192, findings=50, unpacked=1 << 22)
_BLOCK = 512

SEEDS = [
    tar(
        {
            **package("torch", "2.9.0+cu126", requires=["nvidia-nccl-cu12"], owns=["torch"]),
            f"{SITE}/torch/lib/a.so": elf(fat_binary(["80", "90a"], ["90"], size=40))[:6000],
            "m.safetensors": safetensors({"a": ("F32", [2], 8)}),
        }
    ),
    tar(
        {"m.gguf": gguf({"t": ("F16", [5])}, data=9)[:2000], "a/.wh..wh..opq": b"", ".wh.b": b""},
        hard_links={"n.gguf": "m.gguf"},
        symlinks={"o.pt": "../m.gguf"},
    ),
    tar({"long/" * 60 + "m.pt": b"x", "c/conda-meta/a.json": b'{"name": "a", "version": "1"}'}),
]


def mended(data: bytes) -> bytes:
    """Return an archive with checksums that fit, wherever a header may be."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - _BLOCK + 1, _BLOCK):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + _BLOCK])
    return bytes(blocks)


def layers_are_read_alike(data: bytes) -> None:
    """Check that a layer tells the same in one piece and in many, and is bounded."""
    if not data:
        return
    content = mended(data[1:])
    if data[0] % 2:
        content = gzip.compress(content, 1, mtime=0)
    whole = _read(content, iter((content,)))
    assert _read(content, pieces(data[0], content)) == whole
    if isinstance(whole, Layer):
        assert len(whole.findings) <= BOUNDS.findings
        assert Layer.model_validate_json(whole.model_dump_json()) == whole
        in_image([whole, whole])


def _read(content: bytes, parts: Iterator[bytes]) -> Layer | str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    reader = LayerReader(digest, len(content), BOUNDS)
    try:
        for part in parts:
            reader.feed(part)
        return reader.finish()
    except Unreadable as error:
        return error.why


def descriptions_end_in_values(data: bytes) -> None:
    """Check that what describes packages and weights is read, or refused in words."""
    python_package("a.dist-info/METADATA", data)
    conda_package("conda-meta/a.json", data)
    with suppress(ValueError):
        read_gguf(b"GGUF" + data, len(data) + 4)
    layer, noted = chunked({"a.pt": b"x" * 10})
    length = int(next(iter(noted.values())).split(":")[1])
    table = layer[-length:]
    for packed in (data, table[: len(data) % length] + data[:9] + table[len(data) % length :]):
        where = Position(0, len(packed), f"sha256:{hashlib.sha256(packed).hexdigest()}")
        with suppress(Unreadable):
            list(read_contents(packed, where, 1 << 20))


TARGETS = (layers_are_read_alike, descriptions_end_in_values)


def seeds() -> list[bytes]:
    """Return the inputs to begin with; their first byte says how they are packed and cut."""
    return [first + each for each in SEEDS for first in (b"\x00", b"\x01")]


def all_targets(data: bytes) -> None:
    """Check everything."""
    for target in TARGETS:
        target(data)
