"""The CPUs of this machine, as the kernel tells."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from longshore.core.types import Evidence
from longshore.hardware.node import files
from longshore.hardware.node.facts import Unread, exact, inferred, read, unknown

if TYPE_CHECKING:
    from pydantic import JsonValue

_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})
_V4 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_LEVELS = (("v2", _V2), ("v3", _V3), ("v4", _V4))
"""What each level of x86-64 asks for beyond the one below, by the kernel's names (the psABI calls
``pni`` SSE3 and ``abm`` LZCNT)."""


def cpu_facts(sys: Path, proc: Path, architecture: str) -> dict[str, Evidence]:
    """Return the facts.

    Args:
        sys: root of /sys.
        proc: root of /proc.
        architecture: of this machine, as images call it.
    """
    path = proc / "cpuinfo"
    facts = {"cpu_architecture": exact(architecture, "uname")}
    try:
        processors = _processors(files.text(path))
    except Unread as error:
        facts |= dict.fromkeys(("cpu_model", "cpu_flags", "cpu_level"), unknown(error.why))
        processors = []
    else:
        facts |= _described(processors, path, architecture)
    facts["cpu_logical"] = read(lambda: _logical(sys, processors, path))
    facts["cpu_physical"] = read(lambda: _physical(sys))
    return facts


def level(flags: Iterable[str]) -> str:
    """Return the level of x86-64 that CPUs with these flags reach, ``v1`` to ``v4``."""
    has, reached = set(flags), "v1"
    for name, asked in _LEVELS:
        if not asked <= has:
            break
        reached = name
    return reached


def _processors(cpuinfo: str) -> list[dict[str, str]]:
    """Return what /proc/cpuinfo tells of each processor."""
    blocks = (block for block in re.split(r"\n\s*\n", cpuinfo) if block.strip())
    told = [
        {
            name.strip(): value.strip()
            for name, _, value in (line.partition(":") for line in block.splitlines())
        }
        for block in blocks
    ]
    return [each for each in told if "processor" in each]


def _described(
    processors: list[dict[str, str]], path: Path, architecture: str
) -> dict[str, Evidence]:
    # Arm calls them features, and tells of no model by name.
    sets = [
        set(each.get("flags", each.get("Features", "")).split())
        for each in processors
        if "flags" in each or "Features" in each
    ]
    flags = sorted(set.intersection(*sets)) if sets else []
    models = list(dict.fromkeys(each["model name"] for each in processors if "model name" in each))
    told: list[JsonValue] = [*flags]
    facts = {
        "cpu_model": exact(", ".join(models), str(path))
        if models
        else unknown(f"{path} names none"),
        "cpu_flags": exact(told, f"{path}: what all CPUs have")
        if flags
        else unknown(f"{path} tells of none"),
    }
    if architecture != "amd64":
        facts["cpu_level"] = unknown("only amd64 has levels")
    elif not flags:
        facts["cpu_level"] = unknown(f"{path} tells of no flags")
    else:
        facts["cpu_level"] = exact(level(flags), f"{path}: flags that the level asks for")
    return facts


def _logical(sys: Path, processors: list[dict[str, str]], cpuinfo: Path) -> Evidence:
    path = sys / "devices/system/cpu/online"
    try:
        return exact(len(files.numbers(path)), str(path))
    except Unread:
        if processors:
            return exact(len(processors), str(cpuinfo))
        raise


def _physical(sys: Path) -> Evidence:
    """Count cores: CPUs that share one have the same number on the same package."""
    folder = sys / "devices/system/cpu"
    cpus = [each for each in files.names(folder) if re.fullmatch(r"cpu[0-9]+", each)]
    there = [each for each in cpus if (folder / each / "topology").is_dir()]
    if not there:
        raise Unread(f"no CPU in {folder} has a topology")
    cores: set[tuple[int, int]] = set()
    for each in there:
        topology = folder / each / "topology"
        cores.add(
            (files.number(topology / "physical_package_id"), files.number(topology / "core_id"))
        )
    source = f"{folder}/cpu*/topology: packages and cores"
    return exact(len(cores), source) if len(there) == len(cpus) else inferred(len(cores), source)
