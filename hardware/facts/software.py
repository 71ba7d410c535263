"""What is installed in an image: packages where a program finds them, and whose files are whose."""

import re
from collections.abc import Iterable, Mapping

from longshore.hardware.filesystem import Found
from longshore.hardware.findings.kinds import (
    DeviceCode,
    Library,
    ModelConfig,
    Ownership,
    Package,
    Weights,
)

_SITE = re.compile(r"^(?P<site>(?:.*/)?(?:site|dist)-packages)/(?P<name>[^/]+)")
_OF_PYTHON = re.compile(r"(?:^|/)(?:lib/python3[^/]*|site-packages|dist-packages)/")
_LARGE_IN_LIBRARIES = 1 << 20
"""Libraries bring small models for their own tests; larger ones are meant to be used."""
_DEEPEST_SITE = 16
_MOST_SITES = 32
_CACHED = re.compile(r"(?:^|/)pkgs/[^/]+/")
"""Where conda keeps what it has unpacked; what is installed is linked from there."""


_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_MACHINE = re.compile(r"platform_machine\s*==\s*[\"'](\w+)")


def required(package: Package, architecture: str) -> list[str]:
    """Return what a package requires of CUDA's on an architecture, as images call it.

    One description serves the wheels for all machines, and says which ones get CUDA.
    """
    machine = _MACHINES.get(architecture, architecture)
    matches = ((each, _MACHINE.search(each)) for each in package.requires)
    return [each for each, match in matches if match is None or match[1] == machine]


class Software:
    """The findings of an image, sorted by what they are.

    Args:
        found: in the image.
        env: of the image; its ``PYTHONPATH`` says where packages are besides.
    """

    def __init__(self, found: Iterable[Found], env: Mapping[str, str]) -> None:
        self.packages: list[tuple[Package, str]] = []
        """With the digests of their layers, by name."""
        self.weights: list[tuple[Weights, str]] = []
        """With the digests of their layers, the largest first."""
        self.configs: list[tuple[ModelConfig, Found]] = []
        """Of models whose weights are beside them."""
        self.libraries: list[tuple[Library, Found]] = []
        self.code: list[tuple[DeviceCode, Found]] = []
        self._owners: dict[tuple[str, str], str] = {}
        named = env.get("PYTHONPATH", "").split(":", _MOST_SITES)[:_MOST_SITES]
        self._sites = {each.strip("/") for each in named if each}
        ownerships: list[Ownership] = []
        for each in found:
            match each.finding:
                case Package() if self._is_installed(each.finding):
                    self.packages.append((each.finding, each.digest))
                case Weights():
                    self.weights.append((each.finding, each.digest))
                case ModelConfig():
                    self.configs.append((each.finding, each))
                case Library():
                    self.libraries.append((each.finding, each))
                case DeviceCode():
                    self.code.append((each.finding, each))
                case Ownership():
                    ownerships.append(each.finding)
        self._own(ownerships)
        self.weights = [
            (each, digest)
            for each, digest in self.weights
            if each.bytes >= _LARGE_IN_LIBRARIES or not self._is_of_a_library(each.path)
        ]
        folders = {each.path.rpartition("/")[0] for each, _ in self.weights}
        self.configs = [each for each in self.configs if each[0].path.rpartition("/")[0] in folders]
        self.packages.sort(key=lambda each: (each[0].name, each[0].path))
        self.weights.sort(key=lambda each: (-each[0].bytes, each[0].path))

    def named(self, *names: str) -> list[tuple[Package, str]]:
        """Return the packages of these names."""
        return [each for each in self.packages if each[0].name in names]

    def owner(self, path: str) -> str:
        """Return the package that a file belongs to; the file itself where there is none."""
        match = _SITE.match(path)
        site, name = (match["site"], match["name"]) if match else ("", "")
        if not match:
            site = next((each for each in self._sites if path.startswith(f"{each}/")), "")
            if not site:
                return f"/{path}"
            name = path[len(site) + 1 :].partition("/")[0]
        return self._owners.get((site, name), name.partition(".")[0])

    def _is_installed(self, package: Package) -> bool:
        if package.manager == "conda":
            return True
        site = package.path.rpartition("/")[0]
        if site.endswith((".dist-info", ".egg-info")):
            site = site.rpartition("/")[0]
        return not _CACHED.search(package.path) and (
            site.rpartition("/")[2] in {"site-packages", "dist-packages"} or site in self._sites
        )

    def _is_of_a_library(self, path: str) -> bool:
        if _OF_PYTHON.search(path):
            return True
        parts = path.split("/")[:_DEEPEST_SITE]
        return any(("/".join(parts[:at]), parts[at]) in self._owners for at in range(1, len(parts)))

    def _own(self, ownerships: Iterable[Ownership]) -> None:
        names = {each.path.rpartition("/")[0]: each.name for each, _ in self.packages}
        for each in ownerships:
            description = each.path.rpartition("/")[0]
            if description not in names:
                continue
            site = description.rpartition("/")[0]
            for name in each.names:
                # Several packages may share a folder; then it is nobody's.
                shared = (site, name) in self._owners
                self._owners[site, name] = name if shared else names[description]
