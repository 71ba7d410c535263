"""Which NUMA nodes a machine has, as they were read on it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from longshore.core.types import NodeProfile


@dataclass(frozen=True, slots=True)
class NumaNode:
    """Processors and the memory that is close to them."""

    id: int
    cpus: frozenset[int]
    memory_mib: int | None = None


def numa_nodes_of(node: NodeProfile) -> tuple[NumaNode, ...]:
    """Return them; nothing where nobody could read them."""
    read = node.facts.get("numa")
    if read is None or not isinstance(read.value, list):
        return ()
    found = []
    for each in read.value:
        match each:
            case {"node": int(number), "cpus": str() | list() as cpus, "memory_mib": int(mib)}:
                found.append(NumaNode(number, cpu_numbers(cpus), mib))
            case {"node": int(number), "cpus": str() | list() as cpus}:
                found.append(NumaNode(number, cpu_numbers(cpus)))
    return tuple(found)


def cpu_numbers(told: str | Iterable[object]) -> frozenset[int]:
    """Return the numbers in a list of CPUs as Linux writes it: ``0-3,8``.

    Raises:
        ValueError: it is none.
    """
    parts = told.split(",") if isinstance(told, str) else [str(each) for each in told]
    numbers: set[int] = set()
    for part in filter(None, (each.strip() for each in parts)):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def cpu_list(numbers: Iterable[int]) -> str:
    """Return numbers of CPUs as Linux and engines write them."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
