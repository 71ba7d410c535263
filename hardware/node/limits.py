"""What this process may use of its machine: control groups of version 2, then 1, then its affinity.

A limit of a group holds for all that is in it, so the smallest on the way up counts. A container
often sees its own group as the root of all, while /proc names it from outside; then the root is it.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from longshore.core.types import Evidence
from longshore.hardware.node import files
from longshore.hardware.node.facts import Unread, exact, inferred, read, unreadable

_NONE_IN_V1 = 1 << 62
"""Version 1 writes a huge number, rounded to a page, where there is no limit."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The group of this process, for one controller."""

    version: int
    root: Path
    path: str

    def upwards(self, name: str) -> Iterator[Path]:
        """Yield a file of the group and of those that it is in, as far as they have it."""
        folder = self.root / self.path
        if not folder.is_dir():
            folder = self.root
        while True:
            if (folder / name).exists():
                yield folder / name
            if folder == self.root:
                return
            folder = folder.parent


class Groups:
    """Finds the groups of this process.

    Args:
        cgroup: where they are.
        proc: root of /proc.
    """

    def __init__(self, cgroup: Path, proc: Path) -> None:
        self._cgroup = cgroup
        self._own = _own(proc / "self/cgroup")

    def group(self, controller: str) -> _Group:
        """Return that of a controller: of version 2 where it is there, otherwise of version 1.

        Raises:
            Unread: there is none.
        """
        # Where both are there, version 2 is in a folder of its own, with few controllers or none.
        for root in (self._cgroup, self._cgroup / "unified"):
            try:
                controllers = files.text(root / "cgroup.controllers").split()
            except Unread:
                continue
            if controller in controllers:
                return _Group(2, root, self._own.get("", ""))
        for names, path in self._own.items():
            if controller in names.split(","):
                for name in (names, controller):
                    if (self._cgroup / name).is_dir():
                        return _Group(1, self._cgroup / name, path)
        if (self._cgroup / controller).is_dir():
            return _Group(1, self._cgroup / controller, "")
        raise Unread(f"{self._cgroup} has no group with the controller {controller}")


def limit_facts(
    groups: Groups,
    affinity: Callable[[], set[int]] | None = None,
) -> dict[str, Evidence]:
    """Return the facts.

    Args:
        groups: of this process.
        affinity: returns the CPUs that the scheduler lets it run on; asks the kernel if left out.
    """
    facts = {
        "cpuset": _cpuset(groups, affinity or (lambda: os.sched_getaffinity(0))),
        "cpu_quota_millicores": read(lambda: _quota(groups)),
        "memory_limit_mib": read(lambda: _memory(groups)),
    }
    facts["cpu_limit_millicores"] = _smaller(facts["cpuset"], facts["cpu_quota_millicores"])
    return facts


def _own(path: Path) -> dict[str, str]:
    """Return the paths of this process's groups, by their controllers; that of version 2 by ""."""
    try:
        lines = files.text(path).splitlines()
    except Unread:
        return {}
    own = {}
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, group = rest.partition(":")
        # A process outside of its namespace's root shows a way up, which leads nowhere here.
        inside = ".." not in PurePosixPath(group).parts
        own["" if number == "0" else names] = group.strip("/") if inside else ""
    return own


def _cpuset(groups: Groups, affinity: Callable[[], set[int]]) -> Evidence:
    try:
        group = groups.group("cpuset")
        wanted = ("cpuset.cpus.effective",) if group.version == 2 else _V1_CPUSETS  # noqa: PLR2004 - v2
        for name in wanted:
            for path in group.upwards(name):
                if cpus := files.numbers(path):
                    return exact(files.listed(cpus), str(path))
    except Unread:
        pass
    return exact(files.listed(affinity()), "sched_getaffinity, as no control group tells")


_V1_CPUSETS = ("cpuset.effective_cpus", "cpuset.cpus")


def _quota(groups: Groups) -> Evidence:
    group = groups.group("cpu")
    found: list[tuple[int, str]] = []
    name = "cpu.max" if group.version == 2 else "cpu.cfs_quota_us"  # noqa: PLR2004 - v2
    looked = list(group.upwards(name))
    for path in looked:
        if group.version == 1:
            quota, period = files.number(path), files.number(path.with_name("cpu.cfs_period_us"))
        else:
            held = files.text(path)
            with unreadable(path):
                first, second = held.split()
                quota, period = -1 if first == "max" else int(first), int(second)
        if quota >= 0:
            with unreadable(path):
                if period <= 0:
                    raise ValueError(period)
                found.append((max(1, quota * 1000 // period), str(path)))
    return _smallest(found, looked, group, name)


def _memory(groups: Groups) -> Evidence:
    group = groups.group("memory")
    name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"  # noqa: PLR2004 - v2
    looked = list(group.upwards(name))
    limits = ((files.number(path), path) for path in looked if files.text(path) != "max")
    found = [(limit >> 20, str(path)) for limit, path in limits if limit < _NONE_IN_V1]
    return _smallest(found, looked, group, name)


def _smallest(
    found: list[tuple[int, str]], looked: list[Path], group: _Group, name: str
) -> Evidence:
    if found:
        value, source = min(found)
        return exact(value, source)
    if looked:
        return exact(None, f"{looked[0]}: no limit")
    if group.version == 1:
        raise Unread(f"{group.root} has no {name}")
    # Only the root of version 2 has no such file, and no limit.
    return exact(None, f"{group.root}: the root has no {name}, and no limit")


def _smaller(cpuset: Evidence, quota: Evidence) -> Evidence:
    """Return how much CPU there is at most: as many as may run it, or the quota."""
    most = len(files.parse(str(cpuset.value))) * 1000
    match quota.value:
        case int() as limit if limit < most:
            return exact(limit, quota.source)
    if quota.confidence is cpuset.confidence:
        return exact(most, cpuset.source)
    return inferred(most, f"{cpuset.source}; whether there is a quota is not known")
