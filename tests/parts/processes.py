"""What the kernel tells of processes that run."""

import os
from pathlib import Path


def workers_of(parent: int) -> list[int]:
    """Return the workers of a platform that runs."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [
        int(each)
        for each in children
        if b"longshore.worker" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def clients_of(process: int) -> set[int]:
    """Return the ports on this machine from which others are connected to a process over IPv4."""
    sockets = {str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(remote.partition(":")[2], 16)
        for _, _, remote, _, _, _, _, _, _, inode, *_ in lines
        if f"socket:[{inode}]" in sockets
    }


def resident(process: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
