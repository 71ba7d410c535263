"""The machine that this process runs on, as far as any process knows it."""

import os
import platform
import socket

from longshore.core.types import Node

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""The kernel's words for what images call otherwise."""


def architecture() -> str:
    """Return this machine's architecture, as images call it."""
    machine = platform.machine().lower()
    return ARCHITECTURES.get(machine, machine)


def memory_mib() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def this_node() -> Node:
    """Return this machine as an engine on it would describe it."""
    return Node(
        name=socket.gethostname(),
        architecture=architecture(),
        cpu_millicores=(os.cpu_count() or 1) * 1000,
        memory_mib=memory_mib(),
    )
