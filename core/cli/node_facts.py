"""Facts about a node as people read them: tables, and what could not be read, and why."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from longshore.core.cli.facts import COLOURS
from longshore.core.cli.output import plain, say, table
from longshore.core.cli.text import one_line, size
from longshore.core.types import Confidence, Evidence, KnownNode

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


def print_node(facts: Mapping[str, Evidence], *, explain: bool) -> None:
    """Print facts.

    Args:
        facts: by name.
        explain: with where each was read.
    """
    others = (name for name in facts if name not in _LABELS)
    rows = [(name, facts[name]) for name in (*_LABELS, *others) if name in facts]
    if explain:
        print_sources(facts, [name for name, _ in rows])
    else:
        cells = [(_label(name), fact.confidence.value, _summary(name, fact)) for name, fact in rows]
        table(("FACT", "CONFIDENCE", "VALUE"), cells, colours=COLOURS)
    for part in (_gpus, _between, _numa):
        try:
            told = part(facts)
        except _ERRORS:
            continue
        if told:
            say("")
            table(*told)
    reasons = _reasons(facts)
    if reasons:
        say(f"\n{click.style('Not read', bold=True)}")
        for why, names in reasons.items():
            say(f"  {one_line(', '.join(names))}: {one_line(why)}")


def print_sources(facts: Mapping[str, Evidence], names: Iterable[str], indent: int = 0) -> None:
    """Print some facts with where each was read.

    Args:
        facts: by name.
        names: of those to print; what is not there is passed over.
        indent: characters before each line.
    """
    margin = " " * indent
    for name in names:
        if fact := facts.get(name):
            say(f"{margin}{click.style(_label(name), bold=True)}: {one_line(_summary(name, fact))}")
            sure = click.style(fact.confidence.value, fg=COLOURS[fact.confidence.value])
            say(f"{margin}    {sure}, by {one_line(fact.source)}")


def print_nodes(nodes: Sequence[KnownNode], *, explain: bool) -> None:
    """Print the nodes of a cluster: a line for each, or all that is known of each.

    Args:
        nodes: of all backends.
        explain: with all facts, and where each was read.
    """
    if explain:
        for each in nodes:
            name = f"{each.profile.node.name} ({each.backend})"
            say(click.style(one_line(name), bold=True))
            print_node(each.profile.facts, explain=True)
            say("")
        return
    headings = ("NODE", "BACKEND", "ARCHITECTURE", "CPUS", "MEMORY", "DRIVER", "LEVEL", "GPUS")
    table(headings, [_line(each) for each in nodes])


def _line(each: KnownNode) -> tuple[str, ...]:
    node, facts = each.profile.node, each.profile.facts

    def told(name: str) -> str:
        return _summary(name, facts[name]) if name in facts else _NOTHING

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


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _summary(name: str, fact: Evidence) -> str:
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
    return _NOTHING if value is None else size(value << 20)


def _or_nothing(value: object) -> str:
    return _NOTHING if value is None else str(value)


_SUMMARIES: Mapping[str, Callable[[Any], str]] = {
    "cuda": lambda value: f"{value} or older",
    "gpus": _kinds,
    "nvidia_pci": _count,
    "cpu_flags": _features,
    "cpu_level": lambda value: f"x86-64-{value}",
    "cpu_quota_millicores": lambda value: f"{value}m",
    "cpu_limit_millicores": lambda value: f"{value}m",
    "numa": _count,
    "memory_mib": _mebibytes,
    "memory_limit_mib": _mebibytes,
    "labels": _count,
}

_Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def _values(facts: Mapping[str, Evidence], name: str) -> list[dict[str, Any]]:
    fact = facts.get(name)
    told: Any = fact.value if fact else None
    return told if isinstance(told, list) else []


def _gpus(facts: Mapping[str, Evidence]) -> _Table | None:
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


def _between(facts: Mapping[str, Evidence]) -> _Table | None:
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


def _numa(facts: Mapping[str, Evidence]) -> _Table | None:
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


def _reasons(facts: Mapping[str, Evidence]) -> dict[str, list[str]]:
    """Return why things are not known, each reason with what it hides."""
    found: dict[str, list[str]] = {}
    for name, fact in facts.items():
        if fact.confidence is Confidence.UNKNOWN:
            found.setdefault(fact.source, []).append(_label(name))
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
