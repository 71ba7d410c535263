"""Acting: what passes decide is asked of backends, in the background, and no pass waits for it.

Requests in flight end before their replica goes, nothing is done without leading, and a backend
that fails ends nobody's loop: it is a plugin, and its failure is its version's.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass

from longshore.core.demand import Demand
from longshore.core.errors import LongshoreError, Unavailable, WorkloadFailed
from longshore.core.hooks import Hooks
from longshore.core.leadership import Leads, must_lead
from longshore.core.looking import Place, World
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, GetsReady, KeepsAsleep
from longshore.core.routes import RouteTable
from longshore.core.types import VersionRecord, Wish, Workload, WorkloadStatus

log = logging.getLogger(__name__)

DRAIN = 30.0
"""Seconds that requests in flight get to finish before their replica is stopped."""

MOST_AT_WORK = 16
"""How many versions are started, changed or stopped at once."""


@dataclass(slots=True)
class Errand:
    """What was last asked of a backend for one version, and what became of it."""

    task: asyncio.Task[None] | None = None
    error: WorkloadFailed | None = None
    away: Unavailable | None = None
    """Why the backend did not take the last change, though it told what it has."""
    stopping: bool = False
    """Replicas were stopped on purpose; that they exited is no failure."""
    deleting: bool = False
    """By then there is no way back for them."""

    @property
    def busy(self) -> bool:
        """Whether it is under way."""
        return self.task is not None and not self.task.done()

    def cancel(self) -> None:
        """Break it off; if nothing is under way, return silently."""
        if self.task:
            self.task.cancel()

    def turn_back(self) -> bool:
        """Let replicas stay that were to stop; return whether there still was a way back."""
        if self.task is None or self.deleting:
            return False
        self.task.cancel()
        self.stopping = False
        return True


class Acting:
    """Starts, changes and stops replicas.

    Args:
        backends: where things run, by name.
        hooks: the plugins that brought them.
        table: the router's table, which tells when no request is in flight any more.
        demand: asked whether a version was to sleep only because nobody called it.
        leadership: whether this process may act, looked at right before each step.
        kick: asks the controller for a pass soon, when something came to its end.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        hooks: Hooks,
        table: RouteTable,
        demand: Demand,
        leadership: Leads,
        *,
        kick: Callable[[], None],
    ) -> None:
        self._backends = backends
        self._hooks = hooks
        self._table = table
        self._demand = demand
        self._leadership = leadership
        self._kick = kick
        self._slots = asyncio.Semaphore(MOST_AT_WORK)
        self._removals: dict[Place, asyncio.Task[None]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        """All that is at work, also what was let go of and has not ended yet."""

    @property
    def removing(self) -> Collection[Place]:
        """Where strangers are removed, or were when ``still_removing`` was last asked."""
        return self._removals.keys()

    def still_removing(self) -> set[Place]:
        """Forget removals that have ended, and return where others go on."""
        self._removals = {at: task for at, task in self._removals.items() if not task.done()}
        return set(self._removals)

    def drop_all(self) -> None:
        """Break off whatever is under way, because another controller leads."""
        for task in self.tasks:
            task.cancel()
        self._removals.clear()

    def apply(self, name: str, workload: Workload, errand: Errand) -> None:
        """Let a backend run a workload.

        Args:
            name: of the backend.
            workload: with the number of replicas, and those that go.
            errand: of the version; nothing else of it is under way.
        """
        errand.error, errand.deleting, errand.stopping = None, False, False
        backend = self._backends[name]
        going = self._apply(backend, workload, errand)
        errand.task = self._start(going, backend, f"apply {workload.key}")

    def put_to_sleep(
        self, record: VersionRecord, have: WorkloadStatus | None, errand: Errand
    ) -> None:
        """Stop what runs of a version, unless somebody comes at the last moment.

        Args:
            record: the version, and the wish by which it is to stop.
            have: what runs of it.
            errand: of the version; nothing else of it is under way.
        """
        errand.error, errand.deleting, errand.stopping = None, False, True
        backend = self._backends[record.version.placement.backend]
        going = self._put_to_sleep(backend, record, have, errand)
        errand.task = self._start(going, backend, f"delete {record.version.key}")

    def remove_strangers(self, world: World) -> None:
        """Remove what runs for versions that are registered no more."""
        for name, statuses in world.listed.items():
            if name in world.away:
                continue
            for status in statuses:
                at = name, status.key
                if at not in world.going or at in self._removals:
                    continue
                backend = self._backends[name]
                going = self._remove(backend, status)
                self._removals[at] = self._start(going, backend, f"remove {status.key}")

    def foretell(self, world: World, workloads: Mapping[VersionKey, Workload]) -> None:
        """Tell backends that get ready for it which versions may run.

        Args:
            world: what the pass saw and decided.
            workloads: what is to run of versions, as far as that was asked for by now.
        """
        for name, backend in self._backends.items():
            if not isinstance(backend, GetsReady) or name in world.away:
                continue
            expected = [
                workloads[key]
                for key, (record, _) in world.steps.items()
                if record.version.placement.backend == name
                and record.wish is not Wish.COLLECT
                and key in workloads
            ]
            try:
                backend.expect(expected)
            except Exception as error:
                # It helps, and nothing depends on it.
                log.exception("%s", self._blame(backend, error, "get ready for versions"))

    def _blame(self, backend: Backend, error: Exception, doing: str) -> str:
        return self._hooks.blame("longshore_backend", backend, error, doing)

    def _start(
        self, going: Coroutine[None, None, None], backend: Backend, name: str
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(going, backend, name), name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _guarded(
        self, going: Coroutine[None, None, None], backend: Backend, name: str
    ) -> None:
        at_once = True
        try:
            async with self._slots:
                await going
        except Unavailable as error:
            # Who is away is asked again in good time, not without end.
            at_once = False
            log.warning("%s: %s", name, error.message)
        except LongshoreError as error:
            log.warning("%s: %s", name, error.message)
        except Exception as error:
            # A backend is a plugin: its bug must not end the loop. The next pass tries again.
            log.exception("%s", self._blame(backend, error, name))
        finally:
            if at_once:
                self._kick()

    async def _apply(self, backend: Backend, workload: Workload, errand: Errand) -> None:
        if workload.retire:
            await self._table.drain(workload.retire, DRAIN)
        must_lead(self._leadership)
        try:
            await backend.apply(workload)
        except WorkloadFailed as error:
            errand.error = error
        except Unavailable as error:
            errand.away = error
            raise
        except Exception as error:
            errand.error = WorkloadFailed(
                self._blame(backend, error, f"apply {workload.key}"),
                hint="This is a defect of the backend's plugin; its trace is in Longshore's log.",
            )
            raise
        errand.away = None

    async def _remove(self, backend: Backend, have: WorkloadStatus) -> None:
        await self._drained(have)
        await backend.delete(have.key)

    async def _put_to_sleep(
        self, backend: Backend, record: VersionRecord, have: WorkloadStatus | None, errand: Errand
    ) -> None:
        key = record.version.key
        quiet = await self._drained(have)
        if not quiet and self._demand.chose(key):
            # Nobody asked for this sleep; whoever came in its last moment may take their time.
            await self._demand.stay(key)
            return
        errand.deleting = True
        if record.wish is Wish.SLEEP and isinstance(backend, KeepsAsleep):
            await backend.rest(key)
        else:
            await backend.delete(key)

    async def _drained(self, have: WorkloadStatus | None) -> bool:
        """Let requests end on what is to stop; return whether all did."""
        replicas = [replica.id for replica in have.replicas] if have else []
        quiet = await self._table.drain(replicas, DRAIN)
        must_lead(self._leadership)
        return quiet
