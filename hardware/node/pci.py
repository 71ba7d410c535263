"""NVIDIA's GPUs on the PCI bus, which the kernel tells of without any driver."""

from pathlib import Path
from typing import TYPE_CHECKING

from longshore.core.types import Evidence
from longshore.hardware.node import files
from longshore.hardware.node.facts import Unread, exact

if TYPE_CHECKING:
    from pydantic import JsonValue

_NVIDIA = 0x10DE
_DISPLAYS = 0x03
"""The class of what draws or computes: VGA and 3D controllers, as opposed to a bridge or sound."""


def nvidia_pci(sys: Path) -> Evidence:
    """Return the fact: address, device number and NUMA node of each.

    Raises:
        Unread: the kernel tells of no PCI bus.
    """
    folder = sys / "bus/pci/devices"
    found: list[JsonValue] = []
    unsure: list[str] = []
    for name in files.names(folder):
        device = folder / name
        try:
            vendor, kind = files.number(device / "vendor"), files.number(device / "class") >> 16
            if vendor == _NVIDIA and kind == _DISPLAYS:
                model = f"{files.number(device / 'device'):04x}"
                found.append({"address": name, "device": model, "numa_node": numa_node(sys, name)})
        except Unread as error:
            unsure.append(error.why)
    if unsure and not found:
        raise Unread(unsure[0])
    return exact(found, f"{folder}: vendor, class")


def numa_node(sys: Path, address: str) -> int | None:
    """Return the NUMA node of a device; None where the kernel does not know it."""
    try:
        node = files.number(sys / "bus/pci/devices" / address / "numa_node")
    except Unread:
        return None
    return node if node >= 0 else None


def local_cpus(sys: Path, address: str) -> str | None:
    """Return the CPUs that a device is near to; None where the kernel does not know them."""
    try:
        cpus = files.numbers(sys / "bus/pci/devices" / address / "local_cpulist")
    except Unread:
        return None
    return files.listed(cpus) or None
