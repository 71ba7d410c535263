"""A plugin whose backend several processes share: its containers are lines in a file.

All of them listen where the settings say, which is a server of the test's. Each call of a process
is written down with its id, so that a test can count what was done, by whom. Beside the file, one
called ``slow`` tells for how many seconds a container is being made, and while there is one called
``booting``, none is ready.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

import longshore
from longshore import (
    Address,
    Endpoint,
    Node,
    Replica,
    ReplicaState,
    Version,
    VersionKey,
    Workload,
    WorkloadStatus,
    hookimpl,
)


class Shared(BaseModel):
    """Settings of the plugin."""

    directory: Path
    port: int


class Plugin:
    Settings = Shared

    def __init__(self, settings: Shared) -> None:
        self._settings = settings

    @hookimpl
    def longshore_backend(self, settings: longshore.Settings) -> "SharedBackend":
        return SharedBackend(self._settings)


class SharedBackend:
    name = "engine"

    def __init__(self, settings: Shared) -> None:
        self._directory = settings.directory
        self._address = Address(host="127.0.0.1", port=settings.port)
        self._file = settings.directory / "running.json"

    async def open(self, installation: str) -> None: ...

    async def open_to_read(self, installation: str) -> None: ...

    async def close(self, *, stop_workloads: bool) -> None:
        if stop_workloads:
            self._note("close")
            with self._running() as running:
                running.clear()

    def describe(self) -> str:
        return "a file"

    async def apply(self, workload: Workload) -> None:
        self._note(f"apply {workload.key} {workload.replicas}")
        slow = self._directory / "slow"
        if slow.exists():
            await asyncio.sleep(float(slow.read_text()))
        with self._running() as running:
            before = running.get(str(workload.key))
            names = [
                each
                for each in (json.loads(before)["names"] if before else ())
                if each not in workload.retire
            ][: workload.replicas]
            while len(names) < workload.replicas:
                names.append(f"{workload.key}-{os.urandom(4).hex()}")
            made = {"names": names, "fingerprint": workload.fingerprint}
            running[str(workload.key)] = json.dumps(made)
        self._note(f"applied {workload.key} {workload.replicas}")

    async def delete(self, key: VersionKey) -> None:
        self._note(f"delete {key}")
        with self._running() as running:
            running.pop(str(key), None)

    async def list(self) -> Sequence[WorkloadStatus]:
        with self._running() as running:
            found = {VersionKey.parse(key): json.loads(made) for key, made in running.items()}
        boots = (self._directory / "booting").exists()
        state = ReplicaState.STARTING if boots else ReplicaState.READY
        return [
            WorkloadStatus(
                key=key,
                fingerprint=made["fingerprint"],
                replicas=tuple(
                    Replica(id=name, state=state, address=self._address) for name in made["names"]
                ),
            )
            for key, made in found.items()
        ]

    async def endpoints(
        self, versions: Sequence[Version]
    ) -> Mapping[VersionKey, tuple[Endpoint, ...]]:
        return {
            each.key: tuple(
                Endpoint(replica=replica.id, address=self._address)
                for replica in each.replicas
                if replica.state is ReplicaState.READY
            )
            for each in await self.list()
        }

    async def watch(self) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(0.2)
            yield

    async def logs(
        self, key: VersionKey, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        yield f"log of {key}"

    async def nodes(self) -> Sequence[Node]:
        return [Node(name="here", architecture="amd64", cpu_millicores=2000, memory_mib=4096)]

    def act_only_while(self, leads: Callable[[], bool]) -> None: ...

    def _note(self, what: str) -> None:
        with (self._directory / "calls").open("a") as calls:
            calls.write(f"{os.getpid()} {what}\n")

    @contextmanager
    def _running(self) -> Iterator[dict[str, str]]:
        with self._file.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            running: dict[str, str] = json.loads(file.read() or "{}")
            before = dict(running)
            yield running
            if running != before:
                file.truncate(0)
                file.write(json.dumps(running))
