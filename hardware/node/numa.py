"""The NUMA nodes of this machine: which CPUs and how much memory each has, and how far they are."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from longshore.core.types import Evidence
from longshore.hardware.node import files
from longshore.hardware.node.facts import Unread, exact

if TYPE_CHECKING:
    from pydantic import JsonValue


def numa(sys: Path) -> Evidence:
    """Return the fact; of each node what could be read.

    Raises:
        Unread: the kernel tells of no node.
    """
    folder = sys / "devices/system/node"
    ids = sorted(
        int(each[4:]) for each in files.names(folder) if re.fullmatch(r"node[0-9]{1,5}", each)
    )
    if not ids:
        raise Unread(f"{folder} has no nodes")
    told: list[JsonValue] = [_node(folder / f"node{each}", each) for each in ids]
    return exact(told, f"{folder}/node*: cpulist, meminfo, distance")


def _node(folder: Path, number: int) -> "JsonValue":
    told: dict[str, JsonValue] = {"node": number}
    unread: dict[str, JsonValue] = {}

    def distances() -> "JsonValue":
        path = folder / "distance"
        return [*map(int, files.text(path).split())]

    for name, read in (
        ("cpus", lambda: files.listed(files.numbers(folder / "cpulist"))),
        ("memory_mib", lambda: files.mebibytes(folder / "meminfo", "MemTotal")),
        ("distances", distances),
    ):
        try:
            told[name] = read()
        except (Unread, ValueError) as error:
            told[name], unread[name] = None, str(error)
    return {**told, "unread": unread}
