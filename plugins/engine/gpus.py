"""Which GPUs of this machine a new container gets, so that no two have the same one.

Nothing is remembered: what is taken stands in the labels of the containers that are there, of this
installation and of others on the same engine, so that a restart loses nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from longshore.core.errors import WorkloadFailed
from longshore.core.gpus import Gpu, gpus_of, meets
from longshore.core.numa import cpu_list, numa_nodes_of
from longshore.core.quantities import memory as told_memory
from longshore.core.types import NodeProfile, Workload

GPUS = "io.longshore.gpus"
"""Label: the ids of a container's GPUs."""

UNREAD = "unread"
"""Instead of ids: the engine chose, and nobody knows which."""

VISIBLE = "CUDA_VISIBLE_DEVICES"

_OVER = frozenset({"exited", "dead", "removing"})


@dataclass(frozen=True, slots=True)
class Devices:
    """What a container gets of this machine."""

    gpus: tuple[str, ...] = ()
    """Their ids."""
    unread: bool = False
    """Whether it gets GPUs that nobody could look at: the engine chooses."""
    cpus: str = ""
    """Near the GPUs, as engines take them; empty: all."""
    memory_nodes: str = ""
    """NUMA nodes whose memory it uses; empty: all."""

    @property
    def held(self) -> frozenset[str]:
        """What no other container may have."""
        return frozenset((UNREAD,) if self.unread else self.gpus)


class Lists(Protocol):
    """The part of the engine's client that is used here."""

    async def labelled(self, label: str) -> Sequence[dict[str, Any]]:
        """List the containers that carry a label, whatever it says, running or not."""


class Allocator:
    """Gives whole GPUs to containers.

    Args:
        client: the engine.
        profile: tells what this machine has.
    """

    def __init__(self, client: Lists, profile: Callable[[], Awaitable[NodeProfile]]) -> None:
        self._client = client
        self._profile = profile
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def chosen(self, workload: Workload) -> AsyncIterator[Devices]:
        """Choose the devices of a container, which has to be created before the context ends.

        Raises:
            WorkloadFailed: not enough GPUs are free.
        """
        if not workload.gpu_count:
            yield Devices()
            return
        async with self._lock:
            there = await self._profile()
            yield choose(workload, there, taken(await self._client.labelled(GPUS)))

    async def is_shared(self, container: str, devices: Devices) -> bool:
        """Return whether another container got some of these devices, too.

        A Longshore that leads no more, or another installation, may choose at the same time. Of two
        that look once their containers are there, at least the later one sees the other.

        Args:
            container: id of the one that was created with them.
            devices: what it was created with.
        """
        if not devices.held:
            return False
        others = taken(
            each for each in await self._client.labelled(GPUS) if each.get("Id") != container
        )
        unclear = devices.unread or UNREAD in others
        return bool(others) if unclear else not others.isdisjoint(devices.held)


def with_devices(config: Mapping[str, Any], devices: Devices) -> dict[str, Any]:
    """Return the configuration of a container that gets these devices, and sees no others.

    What the user says of ``CUDA_VISIBLE_DEVICES`` stays.
    """
    host, env = dict(config["HostConfig"]), list(config["Env"])
    labels = dict(config["Labels"])
    if devices.unread:
        labels[GPUS] = UNREAD
    if devices.gpus:
        ids = ",".join(devices.gpus)
        labels[GPUS] = ids
        host["DeviceRequests"] = [
            {"Driver": "nvidia", "DeviceIDs": list(devices.gpus), "Capabilities": [["gpu"]]}
        ]
        if not any(each.startswith(f"{VISIBLE}=") for each in env):
            env.append(f"{VISIBLE}={ids}")
    if devices.cpus:
        host["CpusetCpus"] = devices.cpus
    if devices.memory_nodes:
        host["CpusetMems"] = devices.memory_nodes
    return {**config, "Env": env, "Labels": labels, "HostConfig": host}


def taken(containers: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Return the ids of the GPUs that containers have which run, or are about to."""
    return frozenset(
        gpu
        for each in containers
        if str(each.get("State", "")).lower() not in _OVER
        for gpu in str((each.get("Labels") or {}).get(GPUS, "")).split(",")
        if gpu
    )


def choose(workload: Workload, node: NodeProfile, held: Collection[str]) -> Devices:
    """Return the GPUs that a container gets, and the CPUs and memory near them.

    The smallest that will do, of one NUMA node if that has enough of them.

    Raises:
        WorkloadFailed: not enough are free, or nobody can tell.
    """
    there = [each for each in gpus_of(node) if each.uuid]
    if UNREAD in held or (held and not there):
        # An engine that chooses takes the first ones each time.
        raise WorkloadFailed(
            "another container has GPUs, and which ones are free is not known, since the GPUs of "
            "this machine could not be read",
            hint="Let Longshore see NVIDIA's driver (longshore hardware report tells what is "
            "missing), or put the version to sleep that holds them: longshore models.",
        )
    if not there:
        return Devices(unread=True)
    floor = workload.gpu_mem_floor_mib or 0
    fit = [
        each
        for each in there
        if (each.memory_mib is None or each.memory_mib >= floor) and meets(workload.affinity, each)
    ]
    free = sorted(
        (each for each in fit if each.uuid not in held),
        key=lambda each: (each.memory_mib or 0, each.uuid),
    )
    if len(free) < workload.gpu_count:
        of = f" of {told_memory(floor)} or more" if floor else ""
        one = workload.gpu_count == 1
        needed, verb = ("1 GPU", "is") if one else (f"{workload.gpu_count} GPUs", "are")
        raise WorkloadFailed(
            f"{needed}{of} {verb} needed, and {len(free)} of {len(fit)} that will do are free",
            hint="Put a version to sleep that holds some, or delete it: longshore models.",
        )
    near: defaultdict[int | None, list[Gpu]] = defaultdict(list)
    for each in free:
        near[each.numa_node].append(each)
    together = [
        group[: workload.gpu_count]
        for place, group in near.items()
        if place is not None and len(group) >= workload.gpu_count
    ]
    gpus = together[0] if together else free[: workload.gpu_count]
    return _near(workload, gpus, node)


def _near(workload: Workload, gpus: Sequence[Gpu], node: NodeProfile) -> Devices:
    """Return GPUs with the CPUs and the memory beside them, as far as these are enough.

    Kept to less memory than it may use, a container would be killed long before its limit.
    """
    ids = tuple(each.uuid for each in gpus)
    nodes = {each.id: each for each in numa_nodes_of(node)}
    places = {each.numa_node for each in gpus}
    place = next(iter(places))
    if len(places) != 1 or len(nodes) == 1 or place not in nodes or not nodes[place].cpus:
        return Devices(ids)
    near = nodes[place]
    if (workload.cpu_millicores or 0) > len(near.cpus) * 1000:
        return Devices(ids)
    has_memory = near.memory_mib != 0
    enough = near.memory_mib is None or (workload.memory_mib or 0) <= near.memory_mib
    memory = str(place) if has_memory and enough else ""
    return Devices(ids, cpus=cpu_list(near.cpus), memory_nodes=memory)
