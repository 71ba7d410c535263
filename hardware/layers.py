"""One layer, read while it comes: what was found in it, and what it does to those below it.

A layer is known by its digest, so what is found in it never changes, and can be kept. Its findings
are told by path; which paths there are besides, which of them are no folders, and which it deletes
below it, is kept as one number each, for there may be a million.
"""

import hashlib
import re
from array import array
from typing import Annotated

from pydantic import AfterValidator, ConfigDict

from longshore.core.types import Digest, Value
from longshore.hardware.bounds import Damaged, ImagesSettings, TooMuch
from longshore.hardware.findings import model_config, packages, weights
from longshore.hardware.findings.cuda import library
from longshore.hardware.findings.device_code import FatBinaries
from longshore.hardware.findings.kinds import Blob, Finding, Link
from longshore.hardware.tar import Content, Entry, Kind, TarReader
from longshore.hardware.unpacking import Unpacker

_RATIO_FROM = 256 << 20
ELF = b"\x7fELF"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_BLOBS = re.compile(r"(?:^|/)blobs/[0-9a-f]{40,64}$")
_NUMBER = 8
_MOST_SKIPPED = 20


def _whole_numbers(content: bytes) -> bytes:
    if len(content) % _NUMBER:
        raise ValueError("it is no list of numbers")
    return content


Numbers = Annotated[bytes, AfterValidator(_whole_numbers)]
"""Sorted, eight bytes each, in this machine's order."""


class Layer(Value):
    """What was found in a layer."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    digest: Digest
    size: int
    """Compressed bytes that were read."""
    unpacked: int = 0
    entries: int = 0
    findings: tuple[Finding, ...] = ()
    paths: Numbers = b""
    """Of all entries."""
    solid: Numbers = b""
    """Of those that are no folders."""
    removed: Numbers = b""
    """What is deleted of the layers below."""
    emptied: Numbers = b""
    """Folders of which nothing is left but what this layer puts there."""
    skipped: tuple[str, ...] = ()
    """What was not read though the layer was, and why."""
    problem: str = ""
    """Why it was not read to its end; empty where it was."""

    @property
    def complete(self) -> bool:
        """Whether all of it was read."""
        return not self.problem


def is_blob(path: str) -> bool:
    """Return whether a file is named by its content alone, as download caches do."""
    return _BLOBS.search(path) is not None


def number_of(path: str) -> int:
    """Return the number that stands for a path."""
    digest = hashlib.blake2b(path.encode(), digest_size=_NUMBER).digest()
    return int.from_bytes(digest, "little")


def packed(numbers: "array[int]") -> bytes:
    """Return numbers as a layer keeps them."""
    return array("Q", sorted(numbers)).tobytes()


class Shelf:
    """Collects what a layer's entries tell.

    Args:
        bounds: how much of it.
    """

    def __init__(self, bounds: ImagesSettings) -> None:
        self._bounds = bounds
        self.entries = 0
        self.findings: list[Finding] = []
        self.skipped: list[str] = []
        self.paths, self.solid = array("Q"), array("Q")
        self.removed, self.emptied = array("Q"), array("Q")

    def add(self, entry: Entry) -> None:
        """Learn that there is an entry.

        Raises:
            TooMuch: there are too many.
        """
        self.entries += 1
        if self.entries > self._bounds.entries:
            raise TooMuch(f"has more than {self._bounds.entries} files and folders")
        folder, _, name = entry.path.rpartition("/")
        if name.startswith(_WHITEOUT):
            if name == _OPAQUE:
                self.emptied.append(number_of(folder))
            elif not name.startswith(_WHITEOUT * 2):
                gone = name.removeprefix(_WHITEOUT)
                self.removed.append(number_of(f"{folder}/{gone}" if folder else gone))
            return
        number = number_of(entry.path)
        self.paths.append(number)
        if entry.kind is Kind.FOLDER:
            return
        self.solid.append(number)
        if entry.kind in {Kind.HARD_LINK, Kind.SYMLINK}:
            self._link(entry)
        elif entry.kind is Kind.FILE and (found := library(entry.path)):
            self._found(found)

    def open(self, entry: Entry, head: bytes) -> Content | None:
        """Return what reads a file; None if nothing in it is of interest."""
        path, most = entry.path, self._bounds.header
        if path.rpartition("/")[2].startswith(_WHITEOUT):
            return None
        if head.startswith(ELF):
            return FatBinaries(path, self._found)
        reader = packages.reader(path, most, self._found)
        if reader is None:
            before = len(self.findings)
            reader = weights.reader(path, entry.size, head, most, self._found)
            if reader is not None or len(self.findings) > before:
                return reader
            if is_blob(path):
                self._found(Blob(path=path, bytes=entry.size))
            # Download caches keep it under a name that says nothing, too.
            if is_blob(path) or model_config.matters(path):
                return model_config.reader(path, entry.size, head, most, self._found)
        return reader

    def _link(self, entry: Entry) -> None:
        hard = entry.kind is Kind.HARD_LINK
        target = resolved(entry.path, entry.target, hard=hard)
        if target is None:
            return
        interesting = weights.format_of(entry.path) is not None or model_config.matters(entry.path)
        if hard and not interesting:
            interesting = packages.matters(entry.path) or ".so" in entry.path
        if interesting:
            self._found(Link(path=entry.path, target=target, hard=hard))

    def _found(self, finding: Finding) -> None:
        if len(self.findings) < self._bounds.findings:
            self.findings.append(finding)
        elif not self.skipped:
            self.skip(f"more than {self._bounds.findings} files that tell of something")

    def layer(self, digest: str, size: int, unpacked: int, problem: str = "") -> Layer:
        """Return the layer of which all this was told.

        Args:
            digest: its own.
            size: how many of its bytes were read.
            unpacked: what they became.
            problem: why not all of it was told; empty where it was.
        """
        return Layer(
            digest=digest,
            size=size,
            unpacked=unpacked,
            entries=self.entries,
            findings=tuple(self.findings),
            paths=packed(self.paths),
            solid=packed(self.solid),
            removed=packed(self.removed),
            emptied=packed(self.emptied),
            skipped=tuple(self.skipped),
            problem=problem,
        )

    def skip(self, what: str) -> None:
        """Note that something was not read."""
        if len(self.skipped) < _MOST_SKIPPED:
            self.skipped.append(what)


def resolved(path: str, target: str, *, hard: bool) -> str | None:
    """Return where a link leads, from the root; None if out of it."""
    # A hard link is told from the root, a symbolic one from its own folder.
    base = [] if hard or target.startswith("/") else path.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            if not base:
                return None
            base.pop()
        elif part not in {"", "."}:
            base.append(part)
    return "/".join(base)


class LayerReader:
    """Reads one layer.

    Args:
        digest: what it has to have.
        size: how many bytes it has to have.
        bounds: how much of it is read.
    """

    def __init__(self, digest: str, size: int, bounds: ImagesSettings) -> None:
        self.digest = digest
        self._size = size
        self._bounds = bounds
        self._sha256 = hashlib.sha256()
        self._read = self._unpacked = 0
        self._unpacker = Unpacker()
        self._shelf = Shelf(bounds)
        self._tar = TarReader(self._shelf)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, as they come from the registry.

        Raises:
            Unreadable: it is no layer, or too much of one.
        """
        self._read += len(data)
        if self._read > self._size:
            raise Damaged(f"is longer than the {self._size} bytes that its manifest tells")
        self._sha256.update(data)
        for piece in self._unpacker.feed(data):
            self._unpack(piece)

    def finish(self) -> Layer:
        """Return what was found, now that nothing follows.

        Raises:
            Unreadable: it is not what its manifest tells.
        """
        if self._read < self._size:
            raise Damaged(f"ends after {self._read} of {self._size} bytes")
        digest = f"sha256:{self._sha256.hexdigest()}"
        if digest != self.digest:
            raise Damaged(f"has the digest {digest} instead of its own")
        for piece in self._unpacker.finish():
            self._unpack(piece)
        self._tar.finish()
        return self.so_far("")

    def so_far(self, problem: str) -> Layer:
        """Return what was found until now.

        Args:
            problem: why it is not read on.
        """
        return self._shelf.layer(self.digest, self._read, self._unpacked, problem)

    def _unpack(self, piece: bytes) -> None:
        self._unpacked += len(piece)
        if self._unpacked > self._bounds.unpacked:
            raise TooMuch(f"unpacks to more than {self._bounds.unpacked} bytes")
        if self._unpacked > max(_RATIO_FROM, self._bounds.ratio * self._read):
            raise TooMuch(
                f"unpacks to more than {self._bounds.ratio:g} times its size, as bombs do"
            )
        self._tar.feed(piece)


def unreadable(digest: str, problem: str) -> Layer:
    """Return what is known of a layer that could not be read at all."""
    return Layer(digest=digest, size=0, problem=problem)
