"""Facts about a node as people read them, and what could not be read, and why."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from longshore.core.quantities import cores, memory
from longshore.core.types import Confidence, Evidence, KnownNode
from longshore.core.words.text import plain

_NOTHING = "-"
_LABELS = {
    "nvml_status": "NVML",
    "driver": "NVIDIA driver",
    "cuda": "CUDA",
    "gpus": "GPUs",
    "nvidia_pci": "NVIDIA on PCI",
    "cpu_architecture": "architecture",
    "cpu_model": "CPU",
    "cpu_level": "x86-64 level",
    "cpu_flags": "CPU features",
    "cpu_physical": "cores",
    "cpu_logical": "CPUs",
    "cpuset": "CPUs allowed",
    "cpu_quota_millicores": "CPU quota",
    "cpu_limit_millicores": "CPU limit",
    "numa": "NUMA nodes",
    "memory_mib": "memory",
    "memory_limit_mib": "memory limit",
    "labels": "labels",
}
"""The facts that there are of every node, in the order in which they are told."""

_TELLING = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)
"""Features of CPUs that make models faster."""

_ERRORS = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a value ends in that is not what the built-in plugin tells."""


Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings, and rows of as many cells."""

NODES = ("NODE", "BACKEND", "ARCHITECTURE", "CPUS", "MEMORY", "DRIVER", "LEVEL", "GPUS")
"""Headings of a table of nodes."""


def fact_names(facts: Mapping[str, Evidence]) -> list[str]:
    """Return the names of facts in the order in which they are told."""
    others = (name for name in facts if name not in _LABELS)
    return [name for name in (*_LABELS, *others) if name in facts]


def tables(facts: Mapping[str, Evidence]) -> Iterator[Table]:
    """Yield what there is more to tell of GPUs, of what is between them, and of NUMA nodes."""
    for part in (_gpus, _between, _numa):
        try:
            told = part(facts)
        except _ERRORS:
            continue
        if told:
            yield told


def node_row(each: KnownNode) -> tuple[str, ...]:
    """Return a node's row in a table of nodes."""
    node, facts = each.profile.node, each.profile.facts

    def told(name: str) -> str:
        return fact_summary(name, facts[name]) if name in facts else _NOTHING

    return (
        node.name,
        each.backend,
        node.architecture,
        f"{node.cpu_millicores / 1000:g}",
        _mebibytes(node.memory_mib),
        told("driver"),
        told("cpu_level"),
        # What can be asked for is known, though nothing else of it may be.
        f"{node.gpus} of unknown kind" if node.gpus and told("gpus") == _NOTHING else told("gpus"),
    )


def fact_name(name: str) -> str:
    """Return what a fact is called."""
    return _LABELS.get(name, name.replace("_", " "))


def fact_summary(name: str, fact: Evidence) -> str:
    """Return a fact in one line; as JSON where it is not what the built-in plugin tells."""
    if fact.confidence is Confidence.UNKNOWN:
        return _NOTHING
    if fact.value is None:
        return "none"
    try:
        return _SUMMARIES.get(name, plain)(fact.value)
    except _ERRORS:
        return plain(fact.value)


def _kinds(value: Sequence[Mapping[str, Any]]) -> str:
    kinds = Counter(str(each["name"] or "of unknown kind") for each in value)
    return ", ".join(f"{number} x {name}" for name, number in kinds.items()) or "none"


def _features(value: Sequence[str]) -> str:
    told = [each for each in _TELLING if each in value]
    return f"{' '.join(told) or 'none that matter'} ({len(value)} in all)"


def _count(value: Any) -> str:
    if not isinstance(value, list | dict):
        return plain(value)
    return str(len(value)) if value else "none"


def _mebibytes(value: int | None) -> str:
    return _NOTHING if value is None else memory(value)


def _or_nothing(value: object) -> str:
    return _NOTHING if value is None else str(value)


_SUMMARIES: Mapping[str, Callable[[Any], str]] = {
    "cuda": lambda value: f"{value} or older",
    "gpus": _kinds,
    "nvidia_pci": _count,
    "cpu_flags": _features,
    "cpu_level": lambda value: f"x86-64-{value}",
    "cpu_quota_millicores": cores,
    "cpu_limit_millicores": cores,
    "numa": _count,
    "memory_mib": _mebibytes,
    "memory_limit_mib": _mebibytes,
    "labels": _count,
}


def _values(facts: Mapping[str, Evidence], name: str) -> list[dict[str, Any]]:
    fact = facts.get(name)
    told: Any = fact.value if fact else None
    return told if isinstance(told, list) else []


def _gpus(facts: Mapping[str, Evidence]) -> Table | None:
    gpus = _values(facts, "gpus")
    if not gpus:
        return None
    headings = ("GPU", "MEMORY", "FREE", "COMPUTE", "MIG", "NUMA", "CPUS", "PCIE", "NVLINK", "UUID")
    rows = []
    for gpu in gpus:
        mig = gpu["mig"] or {}
        slices = mig.get("instances", [])
        rows.append(
            [
                str(gpu["index"]),
                _mebibytes(gpu["memory_total_mib"]),
                _mebibytes(gpu["memory_free_mib"]),
                _or_nothing(gpu["compute_capability"]),
                f"{len(slices)} slices" if mig.get("mode") == "enabled" else mig.get("mode", "-"),
                _or_nothing(gpu["numa_node"]),
                _or_nothing(gpu["cpu_affinity"]),
                _pcie(gpu["pcie"]),
                _nvlinks(gpu["nvlinks"]),
                _or_nothing(gpu["uuid"]),
            ]
        )
        rows += [
            [
                f"  {each['name'].rpartition(' MIG ')[2] if each['name'] else 'slice'}",
                _mebibytes(each["memory_total_mib"]),
                _mebibytes(each["memory_free_mib"]),
                *[""] * 6,
                _or_nothing(each["uuid"]),
            ]
            for each in slices
        ]
    return headings, rows


def _pcie(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return _NOTHING
    return f"{_or_nothing(value['generation'])} x {_or_nothing(value['width'])}"


def _nvlinks(value: Sequence[Mapping[str, Any]] | None) -> str:
    if value is None:
        return _NOTHING
    ends: Counter[str] = Counter()
    for each in value:
        ends[each["to"]] += each["links"]
    return ", ".join(f"{links} to {end}" for end, links in ends.items()) or "none"


def _between(facts: Mapping[str, Evidence]) -> Table | None:
    """Return a square of what is between each two GPUs."""
    gpus = _values(facts, "gpus")
    if len(gpus) < 2 or not any(gpu["paths"] for gpu in gpus):  # noqa: PLR2004 - two make a pair
        return None
    rows = []
    for gpu in gpus:
        paths = {each["to"]: each["path"] for each in gpu["paths"] or ()}
        direct = {each["pci"]: each["links"] for each in gpu["nvlinks"] or ()}
        rows.append(
            [
                str(gpu["index"]),
                *(
                    _NOTHING if other is gpu else _path(paths.get(other["index"]), direct, other)
                    for other in gpus
                ),
            ]
        )
    return ("BETWEEN", *(str(gpu["index"]) for gpu in gpus)), rows


def _path(path: str | None, direct: Mapping[str, int], other: Mapping[str, Any]) -> str:
    links = direct.get(other["pci"])
    if links:
        return f"{links} NVLinks"
    return path.replace("_", " ") if path else "?"


def _numa(facts: Mapping[str, Evidence]) -> Table | None:
    nodes = _values(facts, "numa")
    if not nodes:
        return None
    rows = [
        [
            str(node["node"]),
            _mebibytes(node["memory_mib"]),
            " ".join(map(str, node["distances"] or ())) or _NOTHING,
            _or_nothing(node["cpus"]) or "none",
        ]
        for node in nodes
    ]
    return ("NUMA", "MEMORY", "DISTANCES", "CPUS"), rows


def reasons_unread(facts: Mapping[str, Evidence]) -> dict[str, list[str]]:
    """Return why things are not known, each reason with what it hides."""
    found: dict[str, list[str]] = {}
    for name, fact in facts.items():
        if fact.confidence is Confidence.UNKNOWN:
            found.setdefault(fact.source, []).append(fact_name(name))
    for name, kind, number in (("gpus", "GPU", "index"), ("numa", "NUMA node", "node")):
        for each in _values(facts, name):
            try:
                for field, why in _unread(each):
                    found.setdefault(why, []).append(f"{field} of {kind} {each[number]}")
            except _ERRORS:
                continue
    return found


def _unread(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is not known of a part, and of its parts."""
    if part.get("lost"):
        yield "all", str(part["lost"])
    for field, why in part.get("unread", {}).items():
        yield field.replace("_", " "), str(why)
    pcie = part.get("pcie") or {}
    for field, why in pcie.get("unread", {}).items():
        yield f"PCIe {field}", str(why)
    for place, each in enumerate((part.get("mig") or {}).get("instances", ())):
        for field, why in each["unread"].items():
            yield f"{field.replace('_', ' ')} of slice {place}", str(why)
