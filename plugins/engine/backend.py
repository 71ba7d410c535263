"""The ``Backend`` on a container engine."""

import asyncio
import contextlib
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from longshore.core.backends.hints import Hints
from longshore.core.backends.locks import Locks
from longshore.core.backends.logs import Containers, log_of
from longshore.core.background import Tasks
from longshore.core.convergence import endpoints_of
from longshore.core.errors import (
    LongshoreError,
    StartRefused,
    Unavailable,
    WorkloadFailed,
)
from longshore.core.machine import ARCHITECTURES
from longshore.core.measures import ReplicaUse
from longshore.core.names import VersionKey
from longshore.core.settings import Settings
from longshore.core.types import (
    Endpoint,
    Node,
    NodeProfile,
    Progress,
    Version,
    Workload,
    WorkloadStatus,
)
from longshore.plugins.engine.applying import Applier
from longshore.plugins.engine.connect import Connection, connect
from longshore.plugins.engine.containers import OWNER
from longshore.plugins.engine.hints import follow_events
from longshore.plugins.engine.logs import follow as follow_log
from longshore.plugins.engine.logs import past_if_there
from longshore.plugins.engine.pull import Puller
from longshore.plugins.engine.replicas import Replicas
from longshore.plugins.engine.resting import to_discard
from longshore.plugins.engine.second_try import SecondTries
from longshore.plugins.engine.starting import Starter
from longshore.plugins.engine.usage import use_of
from longshore.plugins.engine.wire import EngineError

log = logging.getLogger(__name__)

LOOKS = 2
"""For containers to remove, before they count as all gone."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What there is between ``open`` and ``close``."""

    connection: Connection
    replicas: Replicas
    applier: Applier


class EngineBackend:
    """Runs replicas as containers of Docker or Podman on this machine.

    Args:
        settings: the platform's.
        socket: the engine's Unix socket; found if left out.
        environment: the process's variables, which may name an engine.
        freezes: keep a frozen container of each version that sleeps.
    """

    name = "engine"

    def __init__(
        self,
        settings: Settings,
        *,
        socket: str | None,
        environment: Mapping[str, str],
        freezes: bool = False,
    ) -> None:
        self._settings = settings
        self._socket = socket
        self._environment = environment
        self._freezes = freezes
        self._hints = Hints()
        self._locks = Locks()
        self._applying: dict[VersionKey, tuple[str, Progress | None]] = {}
        self._tasks = Tasks()
        self._opened: _Opened | None = None
        self._leads: Callable[[], bool] = lambda: True
        self._profile: Callable[[Node], Awaitable[NodeProfile]] = _unknown
        self._second_tries = SecondTries(
            replace=self._replace,
            leads=self._may_act,
            spawn=self._tasks.spawn,
            changed=self._hints.tell,
        )

    async def open(self, installation: str) -> None:
        """Connect to an engine, and adopt the containers of this installation."""
        replicas = await self._connect(installation)
        with _refused_as(StartRefused):
            for listed in await replicas.listed():
                if listed.unstarted:
                    # Longshore was killed between creating and starting it.
                    await replicas.remove(listed)

    async def open_to_read(self, installation: str) -> None:
        """Connect to an engine, and only look."""
        self._leads = lambda: False
        await self._connect(installation)

    def act_only_while(self, leads: Callable[[], bool]) -> None:
        """Give up and replace containers only while this process leads."""
        self._leads = leads

    def read_nodes(self, profile: Callable[[Node], Awaitable[NodeProfile]]) -> None:
        """Give out GPUs as plugins know them."""
        self._profile = profile

    async def _here(self) -> NodeProfile:
        [node] = await self.nodes()
        return await self._profile(node)

    def _may_act(self) -> bool:
        return self._leads()

    async def _connect(self, installation: str) -> Replicas:
        state = self._settings.state.absolute()
        state.mkdir(parents=True, exist_ok=True)
        connection = await connect(self._socket, state, self._environment)
        replicas = Replicas(
            connection.client,
            installation,
            changed=self._hints.tell,
            revive=self._second_tries.take,
            leads=self._may_act,
        )
        starter = Starter(
            connection.client,
            installation,
            self._settings.state,
            profile=self._here,
            why_writable=self._second_tries.why_writable,
        )
        puller = Puller(connection.client, self._settings)
        self._opened = _Opened(connection, replicas, Applier(replicas, puller, starter))
        log.info("container engine: %s", self.describe())
        events = follow_events(connection, {OWNER: installation}, self._hints)
        self._tasks.spawn(events, "engine events")
        return replicas

    async def close(self, *, stop_workloads: bool) -> None:
        """Let go of the engine; calling it twice is silence."""
        self._hints.close()
        opened, self._opened = self._opened, None
        if opened is None:
            return
        await self._tasks.end()
        try:
            # A start that was cut short may come to light after the first look.
            for _ in range(LOOKS if stop_workloads else 0):
                await opened.applier.remove(await opened.replicas.listed())
        except (Unavailable, EngineError) as error:
            log.warning("containers were left behind: %s", error.message)
        await opened.replicas.close()
        await opened.connection.close()

    def describe(self) -> str:
        """Return the engine's name, version and socket."""
        if self._opened is None:
            return "no container engine yet"
        client = self._opened.connection.client
        return f"{client.engine.name} {client.engine.version} at {client.socket}"

    async def apply(self, workload: Workload) -> None:
        """Run exactly this many replicas of exactly this workload."""
        opened, key = self._ready, workload.key

        def report(progress: Progress | None) -> None:
            self._applying[key] = workload.fingerprint, progress

        async with self._locks.of(key):
            self._second_tries.remember(workload)
            report(None)
            try:
                with _refused_as(WorkloadFailed):
                    await opened.applier.apply(workload, report)
            finally:
                del self._applying[key]
                self._hints.tell()

    async def delete(self, key: VersionKey) -> None:
        """Stop and remove all containers of a version."""
        opened = self._ready
        async with self._locks.of(key):
            self._second_tries.forget(key)
            with _refused_as(Unavailable):
                await opened.applier.remove(await opened.replicas.listed(key))
        self._hints.tell()

    async def rest(self, key: VersionKey) -> None:
        """Remove the containers of a version, but for one that is kept frozen if wanted."""
        if not self._freezes:
            await self.delete(key)
            return
        opened = self._ready
        async with self._locks.of(key):
            with _refused_as(Unavailable):
                await opened.applier.rest(key)
        self._hints.tell()

    async def list(self) -> Sequence[WorkloadStatus]:
        """Return all containers of this installation as replicas of their versions."""
        opened = self._ready
        with _refused_as(Unavailable):
            try:
                await opened.replicas.refresh()
            except Unavailable:
                if not await opened.connection.revive():
                    raise
                await opened.replicas.refresh()
        self._discard(opened)
        return opened.replicas.statuses(self._applying)

    async def endpoints(
        self, versions: Sequence[Version]
    ) -> Mapping[VersionKey, tuple[Endpoint, ...]]:
        """Return the containers that are ready."""
        return {each.key: endpoints_of(each) for each in await self.list()}

    def watch(self) -> AsyncIterator[None]:
        """Yield at events of our containers, at changes of health, and when the engine is back."""
        return self._hints.listen()

    async def logs(
        self, key: VersionKey, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        """Yield the log lines of all containers of a version."""
        opened = self._ready
        client = opened.connection.client

        async def present() -> list[str]:
            # As an error that whoever follows the logs knows.
            with _refused_as(Unavailable):
                listed = await opened.replicas.listed(key)
            return [each.id for each in listed if not each.unstarted]

        read = Containers(
            present, partial(past_if_there, client, tail), partial(follow_log, client)
        )
        async with contextlib.aclosing(log_of(key, read, self._hints, follow=follow)) as lines:
            async for line in lines:
                yield line

    async def nodes(self) -> Sequence[Node]:
        """Return this machine."""
        with _refused_as(Unavailable):
            info = await self._ready.connection.client.info()
        return [
            Node(
                name=info["Name"],
                architecture=ARCHITECTURES.get(info["Architecture"], info["Architecture"]),
                cpu_millicores=info["NCPU"] * 1000,
                memory_mib=info["MemTotal"] >> 20,
            )
        ]

    async def measured(
        self, keys: Sequence[VersionKey]
    ) -> Mapping[VersionKey, Sequence[ReplicaUse]]:
        """Return what the containers of these versions use that were ready when last probed."""
        opened = self._ready
        there = opened.replicas.ready(frozenset(keys))
        used = await asyncio.gather(*(use_of(opened.connection.client, each) for each in there))
        found: dict[VersionKey, list[ReplicaUse]] = {}
        for container, use in zip(there, used, strict=True):
            found.setdefault(container.key, []).append(use)
        return found

    async def free_image(self, reference: str) -> bool:
        """Remove an image, unless a container has it, or somebody gave it a name."""
        client = self._ready.connection.client
        with _refused_as(Unavailable):
            # Longshore pulls by digest and names nothing.
            if await client.image_names(reference):
                return True
            return await client.remove_image(reference)

    # --- between calls ------------------------------------------------------------------------

    def _discard(self, opened: _Opened) -> None:
        """Remove what is kept in vain, where nothing else is at work."""
        for each in to_discard(opened.replicas.kept, freezes=self._freezes):
            if self._leads() and not self._locks.taken(each.key):
                self._tasks.spawn(self._discard_of(opened, each.key), f"discard {each.name}")

    async def _discard_of(self, opened: _Opened, key: VersionKey) -> None:
        async with self._locks.of(key):
            try:
                await opened.applier.discard(key, freezes=self._freezes)
            except (Unavailable, EngineError) as error:
                log.warning("what is kept of %s stays for now: %s", key, error.message)
        self._hints.tell()

    async def _replace(self, container: str, workload: Workload) -> None:
        opened = self._ready
        async with self._locks.of(workload.key):
            await opened.applier.replace(container, workload)

    # --- small things -------------------------------------------------------------------------

    @property
    def _ready(self) -> _Opened:
        if self._opened is None:
            raise Unavailable("the engine backend is not open")
        return self._opened


async def _unknown(node: Node) -> NodeProfile:
    return NodeProfile(node=node)


@contextmanager
def _refused_as(kind: type[LongshoreError]) -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise kind(f"the container engine refused: {error.message}") from error
