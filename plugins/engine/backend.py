"""The ``Backend`` on a container engine."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from longshore.core.backends.causes import start_failure
from longshore.core.backends.following import Followed
from longshore.core.backends.hints import Hints
from longshore.core.convergence import endpoints_of
from longshore.core.errors import (
    LongshoreError,
    NotFound,
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
from longshore.plugins.engine.client import EngineError
from longshore.plugins.engine.connect import Connection, connect
from longshore.plugins.engine.containers import (
    OWNER,
    Listed,
    container_config,
    container_name,
    key_labels,
)
from longshore.plugins.engine.gpus import Allocator, with_devices
from longshore.plugins.engine.hints import follow_events
from longshore.plugins.engine.logs import follow as follow_log
from longshore.plugins.engine.logs import past_of_all
from longshore.plugins.engine.pull import Puller
from longshore.plugins.engine.replicas import AS_REGISTERED, Known, Replicas
from longshore.plugins.engine.resting import freeze_one, to_discard, to_rouse
from longshore.plugins.engine.steps import all_of, to_the_end
from longshore.plugins.engine.usage import use_of

log = logging.getLogger(__name__)

NEEDS_WRITABLE_ROOT = (
    "runs with a writable root file system, because it failed with a read-only one"
)

TRIES = 3
"""Of a start that met another container's name or port, or an image that came or went."""

PAUSE = 0.5
"""Seconds until the next try of a start that met such an image."""

CONFLICT = 409

REMOVED_AT_ONCE = 32

LOOKS = 2
"""For containers to remove, before they count as all gone."""

_NO_INIT = re.compile(r"container-init|docker-init|catatonit")
_PORT_TAKEN = re.compile(r"address already in use|port is already allocated")


@dataclass(frozen=True, slots=True)
class _Opened:
    """What there is between ``open`` and ``close``."""

    installation: str
    connection: Connection
    replicas: Replicas
    puller: Puller
    allocator: Allocator


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
        self._locks: WeakValueDictionary[VersionKey, asyncio.Lock] = WeakValueDictionary()
        self._applying: dict[VersionKey, tuple[str, Progress | None]] = {}
        self._workloads: dict[VersionKey, Workload] = {}
        self._needs_writable_root: set[str] = set()
        """Fingerprints."""
        self._init = True
        """Whether the engine has a process 1 of its own to offer."""
        self._removals = asyncio.Semaphore(REMOVED_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened: _Opened | None = None
        self._leads: Callable[[], bool] = lambda: True
        self._profile: Callable[[Node], Awaitable[NodeProfile]] = _unknown

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
            revive=self._revive,
            leads=self._may_act,
        )
        puller = Puller(connection.client, self._settings)
        allocator = Allocator(connection.client, self._here)
        self._opened = _Opened(installation, connection, replicas, puller, allocator)
        log.info("container engine: %s", self.describe())
        self._spawn(follow_events(connection, {OWNER: installation}, self._hints), "engine events")
        return replicas

    async def close(self, *, stop_workloads: bool) -> None:
        """Let go of the engine; calling it twice is silence."""
        self._hints.close()
        opened, self._opened = self._opened, None
        if opened is None:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            # A start that was cut short may come to light after the first look.
            for _ in range(LOOKS if stop_workloads else 0):
                await self._remove(opened, await opened.replicas.listed())
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
        lock = self._lock(key)
        async with lock:
            self._workloads[key] = workload
            self._applying[key] = workload.fingerprint, None
            try:
                with _refused_as(WorkloadFailed):
                    await self._converge(opened, workload)
            finally:
                del self._applying[key]
                self._hints.tell()

    async def delete(self, key: VersionKey) -> None:
        """Stop and remove all containers of a version."""
        opened = self._ready
        lock = self._lock(key)
        async with lock:
            if workload := self._workloads.pop(key, None):
                self._needs_writable_root.discard(workload.fingerprint)
            with _refused_as(Unavailable):
                await self._remove(opened, await self._of(opened, key))
        self._hints.tell()

    async def rest(self, key: VersionKey) -> None:
        """Remove the containers of a version, but for one that is kept frozen if wanted."""
        if not self._freezes:
            await self.delete(key)
            return
        opened = self._ready
        lock = self._lock(key)
        async with lock:
            with _refused_as(Unavailable):
                await to_the_end(partial(self._rest, opened, key))
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

        async def containers() -> list[str]:
            # As an error that whoever follows the logs knows.
            with _refused_as(Unavailable):
                listed = await self._of(opened, key)
            return [each.id for each in listed if not each.unstarted]

        now = time.time()
        with _refused_as(Unavailable):
            present = await containers()
            if not present:
                raise NotFound(f"{key} has no replica, running or exited")
            for line in await past_of_all(client, present, tail, now):
                yield line.text
        if follow:
            followed = Followed(partial(follow_log, client), containers, self._hints, now)
            async with contextlib.aclosing(followed.lines()) as lines:
                async for line in lines:
                    yield line.text

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

    # --- converging ---------------------------------------------------------------------------

    async def _converge(self, opened: _Opened, workload: Workload) -> None:
        """Keep what is right; pull; remove what is wrong or too many; start what is missing.

        Nothing is removed before the image is there, so that what runs goes on while it is pulled.
        """
        mine = await self._of(opened, workload.key)
        right = [
            each
            for each in mine
            if each.lives and not each.kept and each.fingerprint == workload.fingerprint
        ]
        stay = opened.replicas.best_first(right, workload.retire)[: workload.replicas]
        missing = workload.replicas - len(stay)
        rouse = to_rouse(mine, workload.fingerprint)[:missing]
        missing -= len(rouse)
        if missing:
            await self._pull(opened, workload)
        await self._remove(opened, [each for each in mine if each not in [*stay, *rouse]])
        start = partial(self._start, opened, workload)
        steps = [partial(self._rouse, opened, workload, each) for each in rouse]
        await all_of(to_the_end(step) for step in [*steps, *[start] * missing])

    async def _pull(self, opened: _Opened, workload: Workload) -> None:
        def report(progress: Progress) -> None:
            self._applying[workload.key] = workload.fingerprint, progress

        await opened.puller.pull(workload.image, report)
        self._applying[workload.key] = workload.fingerprint, None

    async def _start(self, opened: _Opened, workload: Workload) -> None:
        client = opened.connection.client
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
                async with opened.allocator.chosen(workload) as devices:
                    config = with_devices(self._config(opened, workload), devices)
                    container = await client.create(container_name(workload.key), config)
                    if await opened.allocator.is_shared(container, devices):
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

    def _config(self, opened: _Opened, workload: Workload) -> dict[str, object]:
        writable_because = ""
        if workload.writable_root:
            writable_because = AS_REGISTERED
        elif workload.fingerprint in self._needs_writable_root:
            writable_because = NEEDS_WRITABLE_ROOT
        return container_config(
            workload,
            owner=opened.installation,
            state=self._settings.state,
            writable_because=writable_because,
            init=self._init,
        )

    async def _remove(self, opened: _Opened, listed: Sequence[Listed]) -> None:
        async def remove(each: Listed) -> None:
            async with self._removals:
                await opened.replicas.remove(each)

        await all_of(remove(each) for each in listed)

    async def free_image(self, reference: str) -> None:
        """Remove an image, unless a container has it."""
        with _refused_as(Unavailable):
            await self._ready.connection.client.remove_image(reference)

    # --- keeping a container of what sleeps ---------------------------------------------------

    async def _rest(self, opened: _Opened, key: VersionKey) -> None:
        kept = await freeze_one(opened.replicas, await self._of(opened, key))
        mine = await self._of(opened, key)
        await self._remove(opened, [each for each in mine if kept is None or each.id != kept.id])

    async def _rouse(self, opened: _Opened, workload: Workload, kept: Listed) -> None:
        try:
            await opened.replicas.rouse(kept)
        except EngineError as error:
            log.warning("%s cannot go on, another one is started: %s", kept.name, error.message)
            await opened.replicas.remove(kept)
            await self._pull(opened, workload)
            await self._start(opened, workload)

    def _discard(self, opened: _Opened) -> None:
        """Remove what is kept in vain, where nothing else is at work."""
        for each in to_discard(opened.replicas.kept, freezes=self._freezes):
            if self._leads() and not self._lock(each.key).locked():
                self._spawn(self._discard_of(opened, each.key), f"discard {each.name}")

    async def _discard_of(self, opened: _Opened, key: VersionKey) -> None:
        lock = self._lock(key)
        async with lock:
            try:
                kept = [each for each in await self._of(opened, key) if each.kept]
                await self._remove(opened, to_discard(kept, freezes=self._freezes))
            except (Unavailable, EngineError) as error:
                log.warning("what is kept of %s stays for now: %s", key, error.message)
        self._hints.tell()

    # --- the second try with a writable root --------------------------------------------------

    def _revive(self, known: Known) -> bool:
        """Replace a container that needs a writable root, if we know what it was made of."""
        container = known.container
        workload = self._workloads.get(container.key)
        known_here = workload is not None and workload.fingerprint == container.fingerprint
        if workload is None or not known_here or not self._leads():
            return False
        self._needs_writable_root.add(container.fingerprint)
        log.warning("%s: starting it again with a writable root file system", container.name)
        self._spawn(self._start_writable(known, workload), f"writable root for {container.name}")
        return True

    async def _start_writable(self, known: Known, workload: Workload) -> None:
        opened, lock = self._ready, self._lock(workload.key)
        async with lock:
            try:
                mine = await self._of(opened, workload.key)
                corpse = [each for each in mine if each.id == known.container.id]
                # An apply or delete that came first has removed it.
                if corpse:
                    await self._remove(opened, corpse)
                    await to_the_end(partial(self._start, opened, workload))
            except (LongshoreError, EngineError) as error:
                known.end = f"{known.end}; a start with a writable root failed: {error.message}"
            finally:
                known.reviving = False
                self._hints.tell()

    # --- small things -------------------------------------------------------------------------

    @property
    def _ready(self) -> _Opened:
        if self._opened is None:
            raise Unavailable("the engine backend is not open")
        return self._opened

    def _lock(self, key: VersionKey) -> asyncio.Lock:
        # It lives for as long as somebody holds it or waits for it.
        return self._locks.setdefault(key, asyncio.Lock())

    async def _of(self, opened: _Opened, key: VersionKey) -> Sequence[Listed]:
        return await opened.replicas.listed(key_labels(opened.installation, key))

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _unknown(node: Node) -> NodeProfile:
    return NodeProfile(node=node)


@contextmanager
def _refused_as(kind: type[LongshoreError]) -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise kind(f"the container engine refused: {error.message}") from error
