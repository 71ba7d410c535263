"""The table of contents of a zstd:chunked layer: all its files, and where the bytes of each are.

Builders of the podman family append it to the layer as a frame that others skip, and write into the
manifest where it is and which digest it has. The format is that of
https://github.com/containers/storage/tree/main/pkg/chunked: one JSON object with ``entries``, a
regular file followed by an entry of type ``chunk`` for each of its parts but the first.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longshore.hardware.bounds import Damaged, TooMuch
from longshore.hardware.manifests import Descriptor
from longshore.hardware.tar import Entry, Kind, clean
from longshore.hardware.unpacking import Unpacker

PREFIXES = ("io.github.containers.zstd-chunked.", "io.containers.zstd-chunked.")
"""Of the annotations; older builders wrote the second one."""
POSITION, CHECKSUM = "manifest-position", "manifest-checksum"
LARGEST = 24 << 20
"""Most bytes of the table, unpacked: some 80,000 files. A larger layer is read from end to end."""

_POSITION = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,18}):1")
_KINDS = {
    "reg": Kind.FILE,
    "dir": Kind.FOLDER,
    "hardlink": Kind.HARD_LINK,
    "symlink": Kind.SYMLINK,
}
_MOST_CHUNKS = 256
"""Of a file: more than its header can have."""


class _Told(BaseModel):
    """An entry of the table."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    type: str
    name: str
    target: str = Field(default="", alias="linkName")
    mode: int = 0
    size: int = Field(default=0, ge=0, lt=1 << 62)
    digest: str = ""
    begin: int = Field(default=0, alias="offset", ge=0)
    end: int = Field(default=0, alias="endOffset", ge=0)
    chunk_size: int = Field(default=0, alias="chunkSize", ge=0)
    chunk_digest: str = Field(default="", alias="chunkDigest")


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a layer the table is."""

    begin: int
    length: int
    checksum: str

    @property
    def span(self) -> tuple[int, int]:
        """Its first byte, and the one after its last."""
        return self.begin, self.begin + self.length


@dataclass(slots=True)
class Stored:
    """A file, and where in the layer its bytes are, packed."""

    entry: Entry
    begin: int
    end: int
    digest: str
    """Of its content."""
    executable: bool
    chunks: list[tuple[int, str]] = field(default_factory=list)
    """Of its first parts: how long each is, and its digest."""


def position(layer: Descriptor) -> Position | None:
    """Return where a layer's table is; None where it has none that could be read."""
    annotations: Mapping[str, str] = layer.annotations or {}
    prefix = next((each for each in PREFIXES if each + POSITION in annotations), "")
    match = _POSITION.fullmatch(annotations.get(prefix + POSITION, ""))
    checksum = annotations.get(prefix + CHECKSUM, "")
    if not match or not re.fullmatch(r"sha256:[0-9a-f]{64}", checksum):
        return None
    begin, length, unpacked = (int(each) for each in match.groups())
    if not length or begin + length > layer.size or max(length, unpacked) > LARGEST:
        return None
    return Position(begin, length, checksum)


def read_contents(packed: bytes, where: Position, size: int) -> Iterator[Stored | Entry]:
    """Yield what a table lists: files that hold something, and all other entries.

    Args:
        packed: the table as it stands in the layer.
        where: the manifest says that it is.
        size: of the layer.

    Raises:
        Damaged: it is not what the manifest says, or cannot be read.
        TooMuch: it is too long.
    """
    if f"sha256:{hashlib.sha256(packed).hexdigest()}" != where.checksum:
        raise Damaged("has a table of contents that does not have its digest")
    file: Stored | None = None
    for told in _entries(_unpacked(packed)):
        if told.type == "chunk":
            if file and len(file.chunks) < _MOST_CHUNKS:
                file.chunks.append((told.chunk_size, told.chunk_digest))
            continue
        if file:
            yield file
        file = None
        path = clean(told.name.encode("utf-8", "surrogatepass"))
        if path is None:
            continue
        kind = _KINDS.get(told.type, Kind.OTHER)
        entry = Entry(path, kind, told.size if kind is Kind.FILE else 0, told.target)
        if kind is not Kind.FILE or not told.size:
            yield entry
            continue
        if not 0 < told.begin < told.end <= size:
            raise Damaged("has a table of contents with a file outside of the layer")
        chunks = [(told.chunk_size, told.chunk_digest)] if told.chunk_digest else []
        file = Stored(entry, told.begin, told.end, told.digest, bool(told.mode & 0o111), chunks)
    if file:
        yield file


def _unpacked(packed: bytes) -> str:
    unpacker = Unpacker()
    content = bytearray()
    for piece in unpacker.feed(packed):
        content += piece
        if len(content) > LARGEST:
            raise TooMuch(f"has a table of contents of more than {LARGEST} bytes")
    for piece in unpacker.finish():
        content += piece
    return content.decode("utf-8", "replace")


def _entries(text: str) -> Iterator[_Told]:
    """Yield the entries one by one: all at once they would take ten times the memory."""
    try:
        for value in _items(text):
            yield _Told.model_validate(value)
    except (ValueError, ValidationError, RecursionError) as error:
        raise Damaged("has a table of contents that cannot be read") from error


def _items(text: str) -> Iterator[Any]:
    """Yield the items of the member ``entries`` of a JSON object.

    Raises:
        ValueError: it is no such object.
    """
    decoder = json.JSONDecoder()
    at = _expect(text, 0, "{")
    while True:
        name, at = decoder.raw_decode(text, _blank(text, at))
        at = _blank(text, _expect(text, at, ":"))
        if name == "entries":
            break
        _, at = decoder.raw_decode(text, at)
        at = _expect(text, at, ",")
    at = _blank(text, _expect(text, at, "["))
    while True:
        value, at = decoder.raw_decode(text, _blank(text, at))
        yield value
        at = _blank(text, at)
        if text[at : at + 1] == "]":
            return
        at = _expect(text, at, ",")


_BLANK = re.compile(r"[ \t\r\n]*")


def _blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, character: str) -> int:
    at = _blank(text, at)
    if text[at : at + 1] != character:
        raise ValueError(f"no {character}")
    return at + 1
