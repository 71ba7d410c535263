"""Starting a container: with devices of its own, and again where something was in the way."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from longshore.core.backends.causes import start_failure
from longshore.core.errors import WorkloadFailed
from longshore.core.types import NodeProfile, Workload
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.containers import container_config, container_name
from longshore.plugins.engine.gpus import Allocator, with_devices
from longshore.plugins.engine.wire import EngineError

TRIES = 3
"""Of a start that met another container's name or port, or an image that came or went."""

PAUSE = 0.5
"""Seconds until the next try of a start that met such an image."""

CONFLICT = 409

_NO_INIT = re.compile(r"container-init|docker-init|catatonit")
_PORT_TAKEN = re.compile(r"address already in use|port is already allocated")


class Starter:
    """Starts containers on one engine.

    Args:
        client: the engine.
        owner: id of the installation.
        state: Longshore's state directory.
        profile: tells which GPUs this machine has.
        why_writable: tells why the root file system of a workload's containers is to be writable;
            empty where it is not.
    """

    def __init__(
        self,
        client: Client,
        owner: str,
        state: Path,
        *,
        profile: Callable[[], Awaitable[NodeProfile]],
        why_writable: Callable[[Workload], str],
    ) -> None:
        self._client = client
        self._owner = owner
        self._state = state
        self._allocator = Allocator(client, profile)
        self._why_writable = why_writable
        self._init = True
        """Whether the engine has a process 1 of its own to offer."""

    async def start(self, workload: Workload) -> None:
        """Start one more container of a workload, whose image is there.

        Raises:
            WorkloadFailed: it cannot be started, and why; nothing of it is left.
        """
        client = self._client
        if workload.gpu_count and client.engine.is_podman:
            # It would start it without, and say nothing.
            raise WorkloadFailed(
                "Podman gives containers no GPU through Docker's API",
                hint="Use Docker Engine or Kubernetes for versions that need a GPU; one that "
                "serves without is registered with --gpu 0.",
            )
        for _ in range(TRIES):
            container = ""
            try:
                async with self._allocator.chosen(workload) as devices:
                    config = with_devices(self._config(workload), devices)
                    container = await client.create(container_name(workload.key), config)
                    if await self._allocator.is_shared(container, devices):
                        raise EngineError(CONFLICT, "another container got the same GPU meanwhile")
                await client.start(container)
            except EngineError as error:
                failure = error
                if container:
                    await client.remove(container)
                if _NO_INIT.search(error.message):
                    self._init = False
                elif error.stumbled:
                    await asyncio.sleep(PAUSE)
                elif not error.conflicts and not _PORT_TAKEN.search(error.message):
                    break
            else:
                return
        raise start_failure(failure.message, workload.command) from failure

    def _config(self, workload: Workload) -> dict[str, object]:
        return container_config(
            workload,
            owner=self._owner,
            state=self._state,
            writable_because=self._why_writable(workload),
            init=self._init,
        )
