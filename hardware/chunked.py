"""Reading a zstd:chunked layer by its table of contents: only the bytes that matter.

Each file that is read is checked against its digest in the table; of weights only the first parts
are read, each checked against its own. Where anything does not fit, the layer is read from end to
end instead, as any other.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence

from longshore.hardware.bounds import Damaged, ImagesSettings, TooMuch
from longshore.hardware.contents import Position, Stored, read_contents
from longshore.hardware.findings import model_config, packages, weights
from longshore.hardware.layers import ELF, Layer, Shelf, is_blob
from longshore.hardware.manifests import Descriptor
from longshore.hardware.registry_client import RegistryClient
from longshore.hardware.tar import HEAD, Content, Entry
from longshore.hardware.unpacking import Unpacker

_MOST_SHARE = 0.5
"""Which share of a layer may be wanted; beyond it, reading all of it costs no more."""
_MOST_REQUESTS = 300
_GAP = 256 << 10
"""Bytes nobody wants that are read rather than asked around."""
_SNIFFED = 1 << 20
"""From which size on a file with a name that says nothing may hold weights."""
_SMALLEST_PROGRAM = 4096
_FIRST_STEP = 128 << 10


class NotWorthIt(Exception):
    """Most of the layer is wanted."""


async def read_chunked(
    registry: RegistryClient, layer: Descriptor, where: Position, bounds: ImagesSettings
) -> Layer:
    """Return what is found in a layer.

    Args:
        registry: the image's.
        layer: as the manifest lists it.
        where: its table of contents is.
        bounds: how much of it is read.

    Raises:
        Unreadable: it is not what its table says.
        NotWorthIt: it is better read from end to end.
        LongshoreError: the registry does not send it, or no parts of it.
    """
    packed = await _part(registry, layer.digest, where.span)
    shelf = Shelf(bounds)
    whole, heads = await asyncio.to_thread(_wanted, packed, where, layer, shelf)
    spans = _merged(whole)
    wanted = sum(end - begin for begin, end, _ in spans)
    if wanted > _MOST_SHARE * layer.size or len(spans) + len(heads) > _MOST_REQUESTS:
        raise NotWorthIt
    read, unpacked = len(packed), 0
    for begin, end, files in spans:
        reader = _Span(begin, files, shelf)
        async with registry.stream(layer.digest, (begin, end)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(reader.feed, piece)
        await asyncio.to_thread(reader.finish)
        read += end - begin
        unpacked += reader.unpacked
    for file in heads:
        read += await _read_head(registry, layer.digest, file, shelf, bounds)
    return shelf.layer(layer.digest, read, unpacked)


async def _part(registry: RegistryClient, digest: str, span: tuple[int, int]) -> bytes:
    """Return a part of a blob.

    Raises:
        Damaged: the registry sends another number of bytes.
    """
    content = bytearray()
    length = span[1] - span[0]
    async with registry.stream(digest, span) as pieces:
        async for piece in pieces:
            content += piece
            if len(content) > length:
                break
    if len(content) != length:
        raise Damaged("is sent in parts of another length than was asked for")
    return bytes(content)


def _wanted(
    packed: bytes, where: Position, layer: Descriptor, shelf: Shelf
) -> tuple[list[Stored], list[Stored]]:
    """Return the files to read whole, and those to read the heads of, by their places."""
    whole, heads = [], []
    for told in read_contents(packed, where, layer.size):
        entry = told if isinstance(told, Entry) else told.entry
        shelf.add(entry)
        if isinstance(told, Entry):
            continue
        if packages.matters(entry.path) or _may_be_a_program(told) or _may_be_a_config(told):
            whole.append(told)
        elif weights.format_of(entry.path) or entry.size >= _SNIFFED:
            heads.append(told)
    whole.sort(key=lambda each: each.begin)
    heads.sort(key=lambda each: each.begin)
    return whole, heads


def _may_be_a_config(file: Stored) -> bool:
    small = file.entry.size <= model_config.LARGEST
    return small and (model_config.matters(file.entry.path) or is_blob(file.entry.path))


def _may_be_a_program(file: Stored) -> bool:
    named_so = ".so" in file.entry.path.rpartition("/")[2]
    return file.entry.size >= _SMALLEST_PROGRAM and (named_so or file.executable)


def _merged(files: Sequence[Stored]) -> list[tuple[int, int, list[Stored]]]:
    """Return parts of the layer to ask for, each with the files in it."""
    spans: list[tuple[int, int, list[Stored]]] = []
    for file in files:
        if spans and file.begin < spans[-1][1]:
            raise Damaged("has a table of contents in which files overlap")
        if spans and file.begin - spans[-1][1] <= _GAP:
            begin, _, others = spans.pop()
            spans.append((begin, file.end, [*others, file]))
        else:
            spans.append((file.begin, file.end, [file]))
    return spans


class _Span:
    """Reads the files in a part of a layer while it comes.

    Args:
        begin: where in the layer it begins.
        files: in it, by their places.
        shelf: opens them.
    """

    def __init__(self, begin: int, files: Sequence[Stored], shelf: Shelf) -> None:
        self._at = begin
        self._files = list(reversed(files))
        self._shelf = shelf
        self._file: _File | None = None
        self.unpacked = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        at = 0
        while self._files and at < len(data):
            stored = self._files[-1]
            if self._at < stored.begin:
                step = min(stored.begin - self._at, len(data) - at)
            else:
                self._file = self._file or _File(stored, self._shelf)
                step = min(stored.end - self._at, len(data) - at)
                self._file.feed(data[at : at + step])
            at += step
            self._at += step
            if self._file and self._at == stored.end:
                self._file.finish()
                self.unpacked += stored.entry.size
                self._file = None
                self._files.pop()

    def finish(self) -> None:
        """Learn that nothing follows.

        Raises:
            Damaged: not all files came.
        """
        if self._files:
            raise Damaged("is sent in parts of another length than was asked for")


class _File:
    """Unpacks one file, and checks that it is the one that the table speaks of."""

    def __init__(self, stored: Stored, shelf: Shelf) -> None:
        self._stored = stored
        self._shelf = shelf
        self._unpacker = Unpacker()
        self._sha256 = hashlib.sha256()
        self._length = 0
        self._begun: bytes | None = b""
        self._content: Content | None = None

    def feed(self, data: bytes) -> None:
        for piece in self._unpacker.feed(data):
            self._take(piece)

    def finish(self) -> None:
        for piece in self._unpacker.finish():
            self._take(piece)
        size = self._stored.entry.size
        if self._length != size or f"sha256:{self._sha256.hexdigest()}" != self._stored.digest:
            raise Damaged("has a file that is not what its table of contents tells")
        if self._content is not None:
            self._content.close()

    def _take(self, piece: bytes) -> None:
        self._sha256.update(piece)
        self._length += len(piece)
        if self._length > self._stored.entry.size:
            raise TooMuch("has a file that is longer than its table of contents tells")
        if self._begun is not None:
            piece = self._begun + piece
            if len(piece) < min(HEAD, self._stored.entry.size):
                self._begun = piece
                return
            self._begun = None
            self._content = self._shelf.open(self._stored.entry, piece[:HEAD])
        if self._content is not None:
            self._content.feed(piece, 0, len(piece))


async def _read_head(
    registry: RegistryClient, digest: str, file: Stored, shelf: Shelf, bounds: ImagesSettings
) -> int:
    """Read as much of a file as its format's header has; return how many bytes that took."""
    content = packed = b""
    for length in _steps(min(file.end - file.begin, bounds.header)):
        packed += await _part(registry, digest, (file.begin + len(packed), file.begin + length))
        content = await asyncio.to_thread(_checked, packed, file, bounds.header)
        if weights.tells_enough(file.entry.size, content, bounds.header):
            break
    if not content or content.startswith(ELF):
        # Then more of it is needed than its beginning.
        raise NotWorthIt
    if reader := shelf.open(file.entry, content[:HEAD]):
        reader.feed(content, 0, len(content))
        reader.close()
    return len(packed)


def _steps(most: int) -> Iterator[int]:
    """Yield how much of a file to have read, four times as much each time."""
    length = _FIRST_STEP
    while length < most:
        yield length
        length *= 4
    yield most


def _checked(packed: bytes, file: Stored, most: int) -> bytes:
    """Return the first parts of a file that are whole in its first packed bytes.

    Raises:
        Damaged: one is not what the table tells.
    """
    unpacker = Unpacker()
    content = bytearray()
    for piece in unpacker.feed(packed):
        content += piece
        if len(content) > 4 * most:
            break
    chunks = file.chunks or [(file.entry.size, file.digest)]
    at = 0
    for length, digest in chunks:
        part = bytes(content[at : at + length])
        if len(part) < length:
            break
        if f"sha256:{hashlib.sha256(part).hexdigest()}" != digest:
            raise Damaged("has a file that is not what its table of contents tells")
        at += length
    return bytes(content[:at])
