"""Code for GPUs in programs and libraries: the headers of CUDA's fat binaries.

Compilers put a fat binary for each source file into the section ``.nv_fatbin``: a header, then one
entry for each architecture, which says what it holds and how long it is. An ELF file lists its
sections at its end, where a stream comes last; so the headers are looked for while the file streams
by. A magic number and a version are found by chance once in 2^64 places, and what follows must be
an entry, too.

The format is not documented by its maker; what is read here was checked against fat binaries that
nvcc 13.0 makes for known targets, and against wheels whose targets are known.
"""

import struct
from collections.abc import Callable

from longshore.hardware.findings.kinds import DeviceCode

MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, 16)
"""The magic number, the version, and the header's own length."""

_HEADER = 16
_ENTRY = struct.Struct("<HHIQIIHHI")
"""Kind, version, length of the entry's header, length of what it holds, four more, architecture."""
_ENTRY_READ = 48
"""Bytes of an entry's header that are read; its flags stand at 40."""
_PTX, _SASS = 1, 2
_LONGEST_ENTRY_HEADER = 1024
_EXACT = 0x100000
"""Flag: for this architecture alone, as ``sm_90a``."""
_FAMILY = 0x200000
"""Flag: for the architecture and its family, as ``sm_100f``."""
_ARCHITECTURES = range(10, 1000)
_MOST_FOUND = 64


class FatBinaries:
    """Looks for fat binaries in a file.

    Args:
        path: the file's.
        tell: called with what was found at its end, if anything.
    """

    def __init__(self, path: str, tell: Callable[[DeviceCode], None]) -> None:
        self._path = path
        self._tell = tell
        self._begun = b""
        """What may be the beginning of something that goes on in the next piece."""
        self._skip = 0
        self._inside = 0
        """How many bytes of the fat binary are to come."""
        self._found: dict[int, set[str]] = {_PTX: set(), _SASS: set()}

    def feed(self, data: bytes, start: int, end: int) -> None:
        """Take the next bytes."""
        if self._skip >= end - start:
            self._skip -= end - start
            return
        if self._begun:
            data = self._begun + data[start + self._skip : end]
            start, end = 0, len(data)
            self._begun = b""
        else:
            start += self._skip
        self._skip = 0
        self._scan(data, start, end)

    def close(self) -> None:
        """Tell what was found."""
        if any(self._found.values()):
            self._tell(
                DeviceCode(
                    path=self._path,
                    sass=in_order(self._found[_SASS]),
                    ptx=in_order(self._found[_PTX]),
                )
            )

    def _scan(self, data: bytes, at: int, end: int) -> None:
        while at < end:
            if self._inside:
                if end - at < _ENTRY_READ:
                    break
                at += self._entry(data, at)
            else:
                found = data.find(MAGIC, at, end)
                if found < 0:
                    at = max(at, end - len(MAGIC) + 1)
                    break
                if end - found < _HEADER:
                    at = found
                    break
                (self._inside,) = struct.unpack_from("<Q", data, found + len(MAGIC))
                at = found + _HEADER
        if at > end:
            self._skip = at - end
        else:
            self._begun = data[at:end]

    def _entry(self, data: bytes, at: int) -> int:
        """Read an entry's header; return how far the next one is."""
        kind, _, header, length, _, _, _, _, architecture = _ENTRY.unpack_from(data, at)
        (flags,) = struct.unpack_from("<Q", data, at + 40)
        if (
            not _ENTRY_READ <= header <= _LONGEST_ENTRY_HEADER
            or header + length > self._inside
            or architecture not in _ARCHITECTURES
        ):
            # By chance, then; look on from here.
            self._inside = 0
            return 0
        self._inside -= header + length
        if kind in self._found and len(self._found[kind]) < _MOST_FOUND:
            suffix = "a" if flags & _EXACT else "f" if flags & _FAMILY else ""
            self._found[kind].add(f"{architecture}{suffix}")
        return int(header + length)


def in_order(architectures: set[str]) -> tuple[str, ...]:
    """Return architectures from the oldest to the newest."""
    return tuple(sorted(architectures, key=lambda each: (int(each.rstrip("af")), each)))
