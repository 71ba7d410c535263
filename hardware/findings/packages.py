"""Installed packages: the descriptions that pip and conda leave beside what they install."""

import json
import re
from collections.abc import Callable

from longshore.hardware.findings.kinds import Ownership, Package
from longshore.hardware.findings.reading import Held
from longshore.hardware.tar import Content

_DESCRIPTION = re.compile(r"\.dist-info/METADATA$|\.egg-info/PKG-INFO$|\.egg-info$")
_RECORD = re.compile(r"\.dist-info/RECORD$")
_CONDA = re.compile(r"(?:^|/)conda-meta/[^/]+\.json$")
_TELLS_OF_CUDA = re.compile(r"^(?:cuda-toolkit|nvidia-|pytorch-cuda|cudatoolkit|cuda-version)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,63}")
_LONGEST_DESCRIPTION = 1 << 20
"""What is told stands at the beginning, before the words for people."""
_MOST_REQUIRED = 32
_LONGEST_REQUIREMENT = 300
_MOST_OWNED = 256
_LONGEST_LINE = 4096


def reader(path: str, most: int, tell: Callable[[Package | Ownership], None]) -> Content | None:
    """Return what reads a package's description; None where the file is none.

    Args:
        path: of the file.
        most: most bytes of it to hold in memory.
        tell: called with what was found.
    """
    if _DESCRIPTION.search(path):
        held = min(most, _LONGEST_DESCRIPTION)
        return Held(held, lambda content: _tell(tell, python_package(path, content)))
    if _RECORD.search(path):
        return _Record(path, tell)
    if _CONDA.search(path):
        return Held(most, lambda content: _tell(tell, conda_package(path, content)))
    return None


def matters(path: str) -> bool:
    """Return whether a file of this name is read here."""
    return any(each.search(path) for each in (_DESCRIPTION, _RECORD, _CONDA))


def _tell(tell: Callable[[Package | Ownership], None], package: Package | None) -> None:
    if package is not None:
        tell(package)


def python_package(path: str, content: bytes) -> Package | None:
    """Read a METADATA file's first part, which ends at its first empty line."""
    name = version = ""
    requires: list[str] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if not line:
            break
        field, _, value = line.partition(":")
        value = value.strip()
        match field.lower():
            case "name":
                name = name or value
            case "version":
                version = version or value
            case "requires-dist" if "extra ==" not in value:
                requires.append(value)
    return _package(path, name, version, requires, "python")


def conda_package(path: str, content: bytes) -> Package | None:
    """Read a file of conda-meta."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    name, version, build = (str(told.get(each) or "") for each in ("name", "version", "build"))
    depends = told.get("depends")
    requires = [str(each) for each in depends] if isinstance(depends, list) else []
    # What conda calls a build is what wheels write behind the version: cuda126_mkl_py312.
    if re.match(r"(?:py[0-9.]+_)?(?:cuda|cpu)", build) and _VERSION.fullmatch(build):
        version = f"{version}+{build}"
    return _package(path, name, version, requires, "conda")


def _package(
    path: str, name: str, version: str, requires: list[str], manager: str
) -> Package | None:
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        return None
    told = [each[:_LONGEST_REQUIREMENT] for each in requires if _TELLS_OF_CUDA.match(each.lower())]
    return Package.model_validate(
        {
            "path": path,
            "name": re.sub(r"[-_.]+", "-", name).lower(),
            "version": version,
            "manager": manager,
            "requires": tuple(told[:_MOST_REQUIRED]),
        }
    )


class _Record:
    """Reads a RECORD line by line: it may be long, and only the first folders in it matter."""

    def __init__(self, path: str, tell: Callable[[Package | Ownership], None]) -> None:
        self._path = path
        self._tell = tell
        self._line = b""
        self._names: dict[str, None] = {}

    def feed(self, data: bytes, start: int, end: int) -> None:
        *lines, self._line = (self._line + data[start:end]).split(b"\n")
        self._line = self._line[:_LONGEST_LINE]
        for line in lines:
            self._add(line)

    def close(self) -> None:
        self._add(self._line)
        if self._names:
            self._tell(Ownership(path=self._path, names=tuple(self._names)))

    def _add(self, line: bytes) -> None:
        first = line.partition(b",")[0].strip(b'"').partition(b"/")[0]
        if first in {b"", b"..", b"__pycache__"} or first.endswith(b".dist-info"):
            return
        name = first.decode("utf-8", "backslashreplace")
        if len(self._names) < _MOST_OWNED:
            self._names[name[:256]] = None
