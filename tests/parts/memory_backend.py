"""A backend without an engine: a stand-in where a test is about the controller's own decisions.

What it shows of the controller holds for any backend; what a real engine does is tested in
tests/plugins/engine and tests/system.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.core.types import (
    Address,
    Node,
    Replica,
    ReplicaState,
    Workload,
    WorkloadStatus,
)


@dataclass
class MemoryBackend:
    """Runs nothing, and remembers what it was asked."""

    name: str = "engine"
    state: ReplicaState = ReplicaState.READY
    """What new replicas are."""
    failing: Exception | None = None
    away: bool = False
    slow: float = 0.0
    """Seconds that apply takes."""
    held: asyncio.Event | None = None
    """What delete waits for."""
    running: dict[VersionKey, WorkloadStatus] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    images: set[str] = field(default_factory=set)
    """What was pulled and not freed since."""
    running_images: dict[VersionKey, str] = field(default_factory=dict)
    keeps_images: bool = False
    expected: dict[VersionKey, int] = field(default_factory=dict)
    """What it was told to get ready for, with the number of replicas."""
    expecting_fails: bool = False
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def open(self, installation: str) -> None: ...

    async def close(self, *, stop_workloads: bool) -> None: ...

    def describe(self) -> str:
        return "memory"

    def expect(self, workloads: Sequence[Workload]) -> None:
        if self.expecting_fails:
            raise RuntimeError("a defect")
        self.expected = {each.key: each.replicas for each in workloads}

    async def apply(self, workload: Workload) -> None:
        self._answer()
        self.calls.append(f"apply {workload.key} {workload.replicas}")
        await asyncio.sleep(self.slow)
        if self.failing:
            raise self.failing
        before = self.running.get(workload.key)
        kept = [
            each
            for each in (before.replicas if before else ())
            if before
            and before.fingerprint == workload.fingerprint
            and each.state is not ReplicaState.EXITED
            and each.id not in workload.retire
        ][: workload.replicas]
        self.images.add(workload.image)
        self.running_images[workload.key] = workload.image
        new = [self._replica() for _ in range(workload.replicas - len(kept))]
        self.running[workload.key] = WorkloadStatus(
            key=workload.key, fingerprint=workload.fingerprint, replicas=(*kept, *new)
        )

    async def delete(self, key: VersionKey) -> None:
        self._answer()
        self.calls.append(f"delete {key}")
        if self.held:
            await self.held.wait()
        self.running.pop(key, None)
        self.running_images.pop(key, None)

    async def free_image(self, reference: str) -> bool:
        self._answer()
        if self.keeps_images:
            raise Unavailable("the engine frees no image now")
        self.calls.append(f"free {reference}")
        if reference in self.running_images.values():
            return False
        self.images.discard(reference)
        return True

    async def list(self) -> Sequence[WorkloadStatus]:
        self._answer()
        return list(self.running.values())

    async def watch(self) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(3600)
            yield

    async def logs(
        self, key: VersionKey, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        yield f"log of {key}"

    async def nodes(self) -> Sequence[Node]:
        return [Node(name="here", architecture="amd64", cpu_millicores=2000, memory_mib=4096)]

    def kill(self, key: VersionKey, reason: str = "exited with code 137") -> None:
        """Let all replicas of a version be dead."""
        status = self.running[key]
        dead = tuple(
            each.model_copy(update={"state": ReplicaState.EXITED, "reason": reason})
            for each in status.replicas
        )
        self.running[key] = status.model_copy(update={"replicas": dead})

    def _replica(self) -> Replica:
        number = next(self.numbers)
        address = Address(host="127.0.0.1", port=40000 + number)
        return Replica(id=f"replica-{number}", state=self.state, address=address)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the engine is away", hint="start it")
