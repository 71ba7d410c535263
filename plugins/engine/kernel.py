"""What this machine's kernel tells of a container's processes, where it may be read.

Everything here answers "unknown" (None or False) for a container on another machine or in
another process namespace, where /proc shows somebody else or nothing.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_LISTEN = "0A"
_INITS = frozenset({"catatonit", "docker-init", "podman-init", "tini"})
"""What engines put before the image's program as process 1."""
_KERNEL_LOG = "/dev/kmsg"
_RECORD = 8192


@dataclass(frozen=True, slots=True)
class Listening:
    """The TCP ports on which a container listens."""

    reachable: frozenset[int]
    """On an address that others can reach."""
    loopback_only: frozenset[int]
    """On the container's own loopback, where nothing outside it arrives."""


def listening(pid: int, container: str, proc: Path = Path("/proc")) -> Listening | None:
    """Return where a container listens; None if that is unknown.

    Args:
        pid: of its process 1.
        container: its id, by which the process is known to be its.
        proc: where the kernel shows processes.
    """
    if not is_of(pid, container, proc):
        return None
    try:
        tables = [(proc / str(pid) / "net" / name).read_text() for name in ("tcp", "tcp6")]
    except OSError:
        return None
    reachable: set[int] = set()
    loopback: set[int] = set()
    for line in "\n".join(tables).splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:  # noqa: PLR2004 - columns: sl local remote st
            host, _, port = fields[1].partition(":")
            (loopback if _is_loopback(host) else reachable).add(int(port, 16))
    return Listening(frozenset(reachable), frozenset(loopback - reachable))


def ignores(pid: int, container: str, signal: int, proc: Path = Path("/proc")) -> bool:
    """Return whether a signal to a container's process 1 would certainly do nothing.

    The kernel drops signals that process 1 of a container has no handler for. An engine's own
    process 1 passes signals on to the image's program, which may have chosen to ignore them.
    """
    if not is_of(pid, container, proc):
        return False
    try:
        first = _status(pid, proc)
        # The last number is the one inside: only process 1 of a namespace is so protected.
        if first.get("NSpid", "").split()[-1:] != ["1"]:
            return False
        # One that is blocked waits for whoever reads it by sigwait or signalfd.
        if not (_has(first, "SigCgt", signal) or _has(first, "SigBlk", signal)):
            return True
        if first.get("Name") not in _INITS:
            return False
        children = (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
        return bool(children) and all(
            _has(_status(int(each), proc), "SigIgn", signal) for each in children
        )
    except OSError:
        return False


def _status(pid: int, proc: Path) -> Mapping[str, str]:
    lines = (proc / str(pid) / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _has(status: Mapping[str, str], mask: str, signal: int) -> bool:
    return bool(int(status.get(mask, "0"), 16) >> (signal - 1) & 1)


def oom_killed(container: str) -> bool:
    """Return whether the kernel's log says that a container was killed for want of memory."""
    try:
        log = os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    mark = container.encode()
    try:
        while record := _next_record(log):
            if b"oom-kill" in record and mark in record:
                return True
    finally:
        os.close(log)
    return False


def _next_record(log: int) -> bytes:
    while True:
        try:
            return os.read(log, _RECORD)
        except BrokenPipeError:
            # Records were overwritten while we read; the next ones are there.
            continue
        except OSError:
            return b""


def is_of(pid: int, container: str, proc: Path = Path("/proc")) -> bool:
    """Return whether a process is of a container, by this machine's kernel."""
    try:
        return pid > 0 and container in (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return False


def _is_loopback(host: str) -> bool:
    # The kernel prints each 32-bit word as a number, in this machine's byte order.
    words = [int(host[start : start + 8], 16) for start in range(0, len(host), 8)]
    raw = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    if len(raw) == 4:  # noqa: PLR2004 - bytes of an IPv4 address
        return IPv4Address(raw).is_loopback
    address = IPv6Address(raw)
    return (address.ipv4_mapped or address).is_loopback
