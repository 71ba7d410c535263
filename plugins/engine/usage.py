"""What a container uses now: by its control group, where this machine shows it, else by its engine.

What the kernel caches of files is left out, as it gives that away when somebody needs the memory.
For the same reason it is what is used now and not the kernel's own peak, which counts it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from longshore.core.errors import Unavailable
from longshore.core.measures import ReplicaUse
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.containers import Container
from longshore.plugins.engine.kernel import is_of
from longshore.plugins.engine.wire import EngineError

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")

_USED = ("memory.current", "memory.usage_in_bytes")
"""Of control groups of version 2 and 1."""
_CACHED = ("total_inactive_file", "inactive_file")
"""What is given away first; version 1 has both, and the first is with all groups inside."""
_MOST_GROUPS = 1000
_MOST_PROCESSES = 10_000


async def use_of(
    client: Client, container: Container, *, proc: Path = PROC, cgroup: Path = CGROUP
) -> ReplicaUse:
    """Return what a container uses; what cannot be read is told.

    Args:
        client: its engine.
        container: running.
        proc: where the kernel shows processes.
        cgroup: where control groups are.
    """
    gpus_unread = ""
    if container.gpu_count and not container.gpus:
        gpus_unread = "the engine chose its GPUs, and does not tell which"
    group = await asyncio.to_thread(_group, container.pid, container.id, proc, cgroup)
    processes: frozenset[int] = frozenset()
    if group is None:
        used, unread = await _by_engine(client, container.id)
    else:
        used, unread = await asyncio.to_thread(_memory, group)
        if container.gpus:
            processes = await asyncio.to_thread(_processes, group)
    return ReplicaUse(
        memory_mib=used,
        unread=unread,
        gpus=container.gpus,
        processes=processes,
        gpus_unread=gpus_unread,
    )


async def _by_engine(client: Client, container: str) -> tuple[int | None, str]:
    try:
        stats = await client.stats(container)
    except (EngineError, Unavailable) as error:
        return None, f"the container engine does not tell: {error.message}"
    return in_stats(stats or {})


def in_stats(stats: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return how much memory is used by what an engine tells; or why it is not known."""
    match stats.get("memory_stats"):
        case {"usage": int(used), "stats": {**details}} if used > 0:
            cached = next((details[name] for name in _CACHED if name in details), None)
            if isinstance(cached, int):
                return _mebibytes(used - cached), ""
    return None, (
        "the engine does not tell how much memory it uses without cached files, and its control "
        "group cannot be read from where Longshore runs"
    )


def _group(pid: int, container: str, proc: Path, cgroup: Path) -> Path | None:
    """Return the folder of a container's control group for memory; None where it is not shown."""
    if not is_of(pid, container, proc):
        return None
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            roots = [cgroup, cgroup / "unified"]
        elif "memory" in controllers.split(","):
            roots = [cgroup / controllers, cgroup / "memory"]
        else:
            continue
        for root in roots:
            folder = root / _own(path, container)
            if any((folder / name).is_file() for name in _USED):
                return folder
    return None


def _own(path: str, container: str) -> str:
    """Return the group of the container as a whole: its first process may be in one inside it."""
    parts = path.strip("/").split("/")
    last = next((at for at, part in enumerate(parts) if container in part), len(parts))
    return "/".join(parts[: last + 1])


def _memory(group: Path) -> tuple[int | None, str]:
    try:
        name = next(each for each in _USED if (group / each).is_file())
        used = int((group / name).read_text())
        pairs = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        stat = {pair[0]: int(pair[1]) for pair in pairs}
    except (OSError, ValueError, IndexError, StopIteration) as error:
        return None, f"the control group {group} cannot be read: {error or type(error).__name__}"
    cached = next((stat[each] for each in _CACHED if each in stat), 0)
    return _mebibytes(used - cached), ""


def _processes(group: Path) -> frozenset[int]:
    """Return the processes of a group, and of those inside it."""
    found: set[int] = set()
    for folder in _folders(group):
        try:
            found.update(int(each) for each in (folder / "cgroup.procs").read_text().split())
        except (OSError, ValueError):
            continue  # a group that went meanwhile
        if len(found) > _MOST_PROCESSES:
            break
    return frozenset(found)


def _folders(group: Path) -> Iterator[Path]:
    waiting, seen = [group], 0
    while waiting and seen < _MOST_GROUPS:
        folder, seen = waiting.pop(), seen + 1
        yield folder
        try:
            waiting += [each for each in folder.iterdir() if each.is_dir()]
        except OSError:
            continue


def _mebibytes(number: int) -> int:
    return -(-max(number, 0) // 2**20)
