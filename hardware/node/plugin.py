"""The built-in plugin ``nodes``: reads what the machine is that Longshore runs on, and labels.

Of other nodes it takes what inspection there reports, where their backend passes it on.
"""

import asyncio
import socket
import time
from collections.abc import Mapping

from longshore.core.hookspecs import hookimpl
from longshore.core.machine import architecture, memory_mib
from longshore.core.measures import GpuUse, GpuUses
from longshore.core.types import Evidence, Node, utc_now
from longshore.hardware.node import files
from longshore.hardware.node.cpu import cpu_facts
from longshore.hardware.node.differences import with_differences
from longshore.hardware.node.facts import complete, exact, known, read
from longshore.hardware.node.gpus import gpu_facts
from longshore.hardware.node.labels import label_facts
from longshore.hardware.node.limits import Groups, limit_facts
from longshore.hardware.node.numa import numa
from longshore.hardware.node.nvml import read_nvml, read_used
from longshore.hardware.node.reported import reported_facts
from longshore.hardware.node.settings import NodesSettings

_ELSEWHERE = "the node was not inspected, for Longshore is not known to run on it"
_NO_LABEL = "the node's labels do not tell"
_RARELY = 10
"""What takes long is not read again for this many times as long: a driver that nobody keeps loaded
takes seconds for each GPU, and one that hangs takes all the time that it may."""
_LIKE = 0.02
"""By which part of it the memory of one machine may differ, told by an engine and by its kernel."""


class Plugin:
    """Reads the kernel's files, and asks NVIDIA's driver in a process apart.

    Args:
        settings: an operator's.
    """

    Settings = NodesSettings

    def __init__(self, settings: NodesSettings | None = None) -> None:
        self._settings = settings or NodesSettings()
        self._reading: asyncio.Task[dict[str, Evidence]] | None = None
        self._fresh_until = float("-inf")
        self._used = GpuUses()
        self._used_until = float("-inf")

    @hookimpl(trylast=True)
    async def longshore_profile_node(self, node: Node) -> Mapping[str, Evidence]:
        """Tell what this machine is, if the node is it; of others, reports and labels."""
        facts = label_facts(node)
        if self._is_here(node):
            here = with_differences(known(await self._here(), facts), facts)
            return complete(here, _NO_LABEL)
        if node.report is not None:
            return reported_facts(node, node.report, facts, utc_now())
        return complete(facts, f"{_ELSEWHERE}, and {_NO_LABEL}")

    @hookimpl(trylast=True)
    async def longshore_measure_gpus(self) -> GpuUses:
        """Ask the driver what is in use now; one that takes long, or fails, not all the time."""
        if time.monotonic() < self._used_until:
            return self._used
        started = time.monotonic()
        used = await read_used(self._settings.driver_seconds)
        gpus = tuple(
            GpuUse(
                uuid=each.uuid,
                used_mib=each.used_mib,
                processes=each.processes,
                unread="; ".join(each.unread.values()),
            )
            for each in used.gpus
        )
        self._used = GpuUses(gpus=gpus, unread=f"NVML: {used.reason}" if used.reason else "")
        if not gpus:
            self._used_until = time.monotonic() + (time.monotonic() - started) * _RARELY
        return self._used

    def _is_here(self, node: Node) -> bool:
        if self._settings.this_node is not None:
            return node.name == self._settings.this_node
        # An engine of another machine may be on one that is called the same.
        memory = memory_mib()
        alike = abs(node.memory_mib - memory) <= memory * _LIKE
        return node.name == socket.gethostname() and alike

    async def _here(self) -> dict[str, Evidence]:
        """Return what was just read, or read it; all that ask at once wait for one reading."""
        reading, loop = self._reading, asyncio.get_running_loop()
        stale = time.monotonic() >= self._fresh_until
        if reading is None or reading.get_loop() is not loop or (reading.done() and stale):
            reading = self._reading = loop.create_task(self._inspect())
        return await asyncio.shield(reading)

    async def _inspect(self) -> dict[str, Evidence]:
        own, started = self._settings, time.monotonic()
        nvml, kernels = await asyncio.gather(
            read_nvml(own.driver_seconds), asyncio.to_thread(self._kernels)
        )
        facts = await asyncio.to_thread(gpu_facts, nvml, own.sys)
        took = time.monotonic() - started
        self._fresh_until = time.monotonic() + max(own.fresh, took * _RARELY)
        return facts | kernels

    def _kernels(self) -> dict[str, Evidence]:
        own = self._settings
        meminfo = own.proc / "meminfo"
        facts = cpu_facts(own.sys, own.proc, architecture())
        facts |= limit_facts(Groups(own.cgroup, own.proc))
        facts["numa"] = read(lambda: numa(own.sys))
        facts["memory_mib"] = read(
            lambda: exact(files.mebibytes(meminfo, "MemTotal"), f"{meminfo}: MemTotal")
        )
        return facts
