"""The controller: makes the backends run what SQL wishes, and tells routers about it.

It is level-triggered. Each pass reads the whole wish and all that runs, asks ``convergence`` for
the next step of every version, and takes these steps. A pass that was interrupted, missed or
repeated does no harm, so nothing here needs to be remembered across a crash.

Of several controllers one leads. The others only follow: see ``following``.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.core.convergence import (
    Action,
    Step,
    converge,
    surplus,
    workload_of,
)
from longshore.core.demand import Demand
from longshore.core.errors import Deposed, LongshoreError, Unavailable, WorkloadFailed
from longshore.core.events import events_of
from longshore.core.following import LOOK_EVERY, SETTLE, Following, heed, listed
from longshore.core.foresight import Foresight
from longshore.core.hooks import Hooks
from longshore.core.leadership import ALONE, Leads
from longshore.core.ledger import Ledger
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, GetsReady, KeepsAsleep, Registry
from longshore.core.publishing import Publisher, route_of
from longshore.core.routes import RouteTable
from longshore.core.scaler import Scaler
from longshore.core.types import (
    Event,
    Load,
    Model,
    Placement,
    State,
    VersionRecord,
    VersionStatus,
    Wish,
    Workload,
    WorkloadStatus,
    utc_now,
)

log = logging.getLogger(__name__)

WORKING_INTERVAL = 0.5
"""Seconds between passes while something is under way, so that progress is seen."""

SETTLE_BRIEFLY = 0.005
"""Seconds that hints are gathered while a version is woken, for somebody waits."""

DRAIN = 30.0
"""Seconds that requests in flight get to finish before their replica is stopped."""

LOADS_EVERY = timedelta(seconds=30)

GATHER = timedelta(seconds=3)
"""After it began to lead, while routers have not told yet what they carry, nothing is made less."""

MOST_AT_WORK = 16
"""How many versions are started, changed or stopped at once."""


_Place = tuple[str, VersionKey]
"""A backend's name, and a version there: one that was registered anew elsewhere is in two."""


@dataclass(slots=True)
class _Work:
    """What the controller holds in memory about one version; all of it can be lost."""

    registered: datetime | None = None
    """When; a number that was deleted and registered anew is another version."""
    base: Workload | None = None
    """The workload after customization, without replicas."""
    placement: Placement | None = None
    """That it was made for; all else of a version never changes."""
    fingerprint: str = ""
    task: asyncio.Task[None] | None = None
    error: WorkloadFailed | None = None
    away: Unavailable | None = None
    """Why the backend did not take the last change, though it told what it has."""
    retry_now: bool = False
    stopping: bool = False
    """Replicas were stopped on purpose; that they exited is no failure."""
    deleting: bool = False
    """By then there is no way back for them."""
    at_rest: VersionRecord | None = None
    """As it was read when it was found to be at rest, with nothing to do and nothing to write;
    while that stands, and nothing of it runs, there is nothing to decide."""

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


@dataclass(slots=True)
class _World:
    """What one pass saw."""

    models: Sequence[Model]
    have: dict[VersionKey, WorkloadStatus]
    """What runs of each version on the backend where it should."""
    away: dict[str, Unavailable]
    """Backends that did not answer."""
    going: set[_Place]
    """Where replicas run, or did when it looked, that belong to no version any more."""
    steps: dict[VersionKey, tuple[VersionRecord, Step]] = field(default_factory=dict)
    wanted: dict[VersionKey, int] = field(default_factory=dict)


class Controller:
    """Runs the convergence loop.

    Args:
        registry: what is wished; only the status in it is written here.
        backends: where things run, by name.
        hooks: the plugins, for customization, scaling and events.
        table: the router's table, told of every endpoint that comes or goes.
        interval: seconds between passes when nothing happens.
        leadership: whether this controller may act; one without colleagues always may.
        retiring: returns the replicas that the leader is about to stop, where it is another one.
        wake_collected: let requests wake what is collected.
        now: the clock; another one in tests.
    """

    def __init__(
        self,
        registry: Registry,
        backends: Mapping[str, Backend],
        hooks: Hooks,
        table: RouteTable,
        *,
        interval: float,
        leadership: Leads = ALONE,
        retiring: Callable[[], Mapping[str, int]] = dict,
        wake_collected: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._backends = backends
        self._hooks = hooks
        self._table = table
        self._publisher = Publisher(table, wake_collected=wake_collected)
        self._leadership = leadership
        sources = {name: listed(backend) for name, backend in backends.items()}
        self.following = Following(registry, sources, self._publisher, retiring)
        """What is done instead while another controller leads."""
        self._interval = interval
        self._now = now
        self._kicked = asyncio.Event()
        self._slots = asyncio.Semaphore(MOST_AT_WORK)
        self._work: dict[VersionKey, _Work] = {}
        self._removals: dict[_Place, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """All that is at work, also what was let go of and has not ended yet."""
        self._models: Sequence[Model] | None = None
        self._have: dict[str, Sequence[WorkloadStatus]] = {}
        self._found: dict[VersionKey, VersionStatus] = {}
        self._loads_saved = now()
        self._saved: Mapping[VersionKey, Load] = {}
        """What was written of each version then; empty where another may have written since."""
        self._earlier: Mapping[VersionKey, Load] | None = None
        """What was observed before this controller came."""
        self._next_try: datetime | None = None
        self._led_since: datetime | None = None
        self._scaler = Scaler(
            registry,
            hooks,
            table,
            kick=self.kick,
            acts=lambda: leadership.leads,
            gathers=lambda: self._gathers,
            now=now,
        )
        began = now()
        self._woken: set[VersionKey] = set()
        """Woken since the pass that is under way read the wishes."""
        self.ledger = Ledger(registry)
        self._demand = Demand(
            registry,
            table,
            self.ledger,
            Foresight(registry, hooks),
            start=self._start_now,
            tell=self._tell,
            leads=lambda: leadership.leads,
            since=lambda: None if self._gathers else self._led_since or began,
            now=now,
        )
        self.wake = self._demand.ask
        """Hear that requests wait for a version; cheap, and any number of times."""
        self.passes = 0
        """How many passes were completed."""

    def models(self) -> Sequence[Model]:
        """Return what is registered, as the last pass read it."""
        return self._models or ()

    def kick(self) -> None:
        """Ask for a pass soon; cheap, and any number of times."""
        self._kicked.set()

    def retry(self, key: VersionKey) -> None:
        """Try a version that failed at once, instead of when its back-off is over."""
        self._work.setdefault(key, _Work()).retry_now = True
        self.kick()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop while the context is open."""
        tasks = [
            asyncio.create_task(self._loop(), name="controller"),
            asyncio.create_task(self._scaler.run(), name="scaler"),
            asyncio.create_task(self._demand.run(), name="wakes"),
        ]
        tasks += [
            asyncio.create_task(heed(backend, self.kick, self._interval), name=f"watch {name}")
            for name, backend in self._backends.items()
        ]
        try:
            yield
        finally:
            await _cancel([*tasks, *self._tasks])

    @property
    def _gathers(self) -> bool:
        """Whether routers may not have told yet what they carry."""
        return self._led_since is not None and self._now() - self._led_since < GATHER

    def leadership_changed(self) -> None:
        """Begin to act, by a full pass at once; or cease to, in the midst of whatever is done."""
        self._led_since, self._saved = self._now(), {}
        if not self._leadership.leads:
            for task in self._tasks:
                task.cancel()
            self._work.clear()
            self._removals.clear()
        self.kick()

    async def _loop(self) -> None:
        while True:
            self._kicked.clear()
            try:
                await self.converge_once()
            except LongshoreError as error:
                log.warning("controller pass failed: %s", error.message)
            except Exception:
                # Whatever a pass trips over, the next one must come.
                log.exception("controller pass failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._kicked.wait()
                    await asyncio.sleep(SETTLE_BRIEFLY if self.ledger.under_way else SETTLE)

    @property
    def _pause(self) -> float:
        """Seconds until the next pass, if nobody asks for one."""
        if not self._leadership.leads:
            return LOOK_EVERY
        at_work = bool(self._removals) or any(work.busy for work in self._work.values())
        longest = WORKING_INTERVAL if at_work else self._interval
        if not self._next_try:
            return longest
        # Many that fail are tried in few passes.
        return min(longest, max((self._next_try - self._now()).total_seconds(), WORKING_INTERVAL))

    async def converge_once(self) -> None:
        """Make one pass: look at everything, and start what is to be done."""
        if not self._leadership.leads:
            await self.following.once()
            self.passes += 1
            return
        began, epoch = self._now(), self._leadership.epoch
        self._woken.clear()
        world = await self._look()
        self._sort(world)
        for model in world.models:
            for record in model.versions:
                await self._decide(world, record)
        statuses = {key: step.status for key, (_, step) in world.steps.items()}
        await self._publisher.publish(
            route_of(model, statuses, world.have, world.wanted, self.ledger.expected)
            for model in world.models
        )
        await self._know_the_earlier_loads()
        self._check_leadership()
        self._remove_strangers(world)
        self._foretell(world)
        # Where all of them are to be started, those that are missed most come first.
        acting = [each for each in world.steps.values() if each[1].action is not Action.NONE]
        for record, step in sorted(acting, key=self._missed, reverse=True):
            self._act(world, record, step)
        # Those that were due before stay so only while their backend is away.
        waits = [step.status.retry_at for _, step in world.steps.values() if step.status.retry_at]
        self._next_try = min((each for each in waits if each > began), default=None)
        await self._report(world, epoch)
        loads = {load.key: load for load in self._table.loads()}
        await self.ledger.review(statuses, world.have, loads, self._now())
        if await self._demand.review(world.models, loads):
            self.kick()
        self.passes += 1

    async def _start_now(self, record: VersionRecord) -> None:
        """Start a version that was woken, without waiting for a pass; the next one goes on."""
        key, name = record.version.key, record.version.placement.backend
        self._woken.add(key)
        have = {each.key: each for each in self._have.get(name, ()) if each.key == key}
        world = _World((), have, {}, set(self._removals))
        await self._decide(world, record)
        record, step = world.steps[key]
        if step.action is Action.APPLY:
            self._act(world, record, step)
        self.kick()

    # --- looking ------------------------------------------------------------------------------

    async def _look(self) -> _World:
        try:
            self._models = await self._registry.models()
        except Unavailable as error:
            # What was wished last goes on, so that warm models are served and repaired.
            if self._models is None:
                raise
            log.warning("the registry does not answer: %s", error.message)
            self._models = [self._remembered(model) for model in self._models]
        away: dict[str, Unavailable] = {}
        self._removals = {at: task for at, task in self._removals.items() if not task.done()}
        for name, backend in self._backends.items():
            try:
                self._have[name] = await backend.list()
            except Unavailable as error:
                away[name] = error
                log.warning("backend %s does not answer: %s", name, error.message)
        return _World(self._models or (), {}, away, set(self._removals))

    def _sort(self, world: _World) -> None:
        """Tell what runs of each version from what belongs to none and has to go.

        Versions that are registered no more, or anew, are let go of.
        """
        known = {
            record.version.key: record.version
            for model in world.models
            for record in model.versions
        }
        anew: set[VersionKey] = set()
        for key, work in list(self._work.items()):
            version = known.get(key)
            if version is None or work.registered not in (None, version.created_at):
                del self._work[key]
                self._scaler.forget(key)
                anew.add(key)
                if work.task:
                    work.task.cancel()
        for name, statuses in self._have.items():
            for status in statuses:
                version, at = known.get(status.key), (name, status.key)
                if version is None or version.placement.backend != name or status.key in anew:
                    world.going.add(at)
                elif at not in world.going:
                    world.have[status.key] = status

    def _remembered(self, model: Model) -> Model:
        """Return a model that SQL told earlier, with the status that was found since."""
        versions = tuple(
            record.model_copy(update={"status": self._found.get(record.version.key, record.status)})
            for record in model.versions
        )
        return model.model_copy(update={"versions": versions})

    # --- deciding -----------------------------------------------------------------------------

    async def _decide(self, world: _World, record: VersionRecord) -> None:
        key, name = record.version.key, record.version.placement.backend
        if key in self._woken:
            record = record.model_copy(update={"wish": Wish.RUN})
        work = self._work.get(key) or self._work.setdefault(key, _Work())
        work.registered = record.version.created_at
        if name in world.away:
            world.steps[key] = record, _not_taken(Step(record.status), name, world.away[name])
            return
        if name not in self._backends:
            status = record.status.model_copy(
                update={
                    "state": State.FAILED,
                    "reason": f"no enabled plugin offers the backend {name!r}",
                    "hint": "Enable it in plugins.toml, or register a version for another one.",
                }
            )
            world.steps[key] = record, Step(status)
            return
        have = world.have.get(key)
        if work.at_rest is record and not (have or work.busy or work.retry_now):
            world.wanted[key], world.steps[key] = 0, (record, Step(record.status))
            return
        if work.stopping and record.wish is Wish.RUN:
            if work.task and not work.deleting:
                # Woken while the last requests were waited for: what was to go stays.
                work.task.cancel()
                work.stopping = False
            else:
                # A list from before the removal ended still has what was stopped.
                have = None
                world.have.pop(key, None)
        if work.base is None or (not have and work.placement != record.version.placement):
            # A plan that follows what was measured comes into force when nothing runs.
            work.placement = record.version.placement
            work.base = await self._hooks.chain(
                "longshore_customize_workload",
                "workload",
                workload_of(record.version),
                version=record.version,
            )
            work.fingerprint = work.base.fingerprint
        wanted = await self._scaler.wanted(record, have)
        world.wanted[key] = wanted
        step = converge(
            record,
            have,
            fingerprint=work.fingerprint,
            wanted=wanted,
            busy=work.busy or (name, key) in world.going,
            error=work.error,
            now=self._now(),
            retry_now=work.retry_now,
        )
        if not work.busy:
            work.retry_now = False
        if work.away and (work.busy or step.action is Action.APPLY):
            step = _not_taken(step, name, work.away)
        rests = record.wish is not Wish.RUN and not have and step == Step(record.status)
        work.at_rest = record if rests else None
        world.steps[key] = record, step

    async def _know_the_earlier_loads(self) -> None:
        """Read once what was called before this start, when nobody has called anything yet."""
        if self._earlier is None:
            with contextlib.suppress(Unavailable):
                self._earlier = await self._registry.loads()

    def _missed(self, step: tuple[VersionRecord, Step]) -> float:
        """Return how many requests a second a version gets, or got before this start."""
        key = step[0].version.key
        before = (self._earlier or {}).get(key)
        return max(self._table.load(key).rate, before.rate if before else 0.0)

    # --- acting -------------------------------------------------------------------------------

    def _act(self, world: _World, record: VersionRecord, step: Step) -> None:
        key = record.version.key
        work = self._work[key]
        name = record.version.placement.backend
        if (name, key) in self._removals:
            return
        backend = self._backends[name]
        have = world.have.get(key)
        if work.busy:
            return  # woken meanwhile
        work.error, work.deleting = None, False
        work.stopping = step.action is Action.DELETE
        if step.action is Action.DELETE:
            going = self._put_to_sleep(backend, record, work, have)
        else:
            assert work.base is not None  # noqa: S101 - _decide made it
            wanted = world.wanted[key]
            retire = surplus(have, wanted)
            workload = work.base.model_copy(update={"replicas": wanted, "retire": retire})
            going = self._apply(backend, work, workload)
            self.ledger.applied(key, self._now())
        work.task = self._start(going, f"{step.action.value} {key}")

    def _remove_strangers(self, world: _World) -> None:
        """Remove what runs for versions that are registered no more."""
        for name, statuses in self._have.items():
            if name in world.away:
                continue
            for status in statuses:
                at = name, status.key
                if at not in world.going or at in self._removals:
                    continue
                going = self._stop(self._backends[name], status.key, status)
                self._removals[at] = self._start(going, f"remove {status.key}")

    def _foretell(self, world: _World) -> None:
        """Tell backends that get ready for it which versions may run."""
        for name, backend in self._backends.items():
            if not isinstance(backend, GetsReady) or name in world.away:
                continue
            workloads = [
                base
                for key, (record, _) in world.steps.items()
                if record.version.placement.backend == name
                and record.wish is not Wish.COLLECT
                and (base := self._work[key].base)
            ]
            try:
                backend.expect(workloads)
            except Exception:
                # It helps, and nothing depends on it.
                log.exception("backend %s failed to get ready for its versions", name)

    def _start(self, going: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(going, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, going: Coroutine[None, None, None], name: str) -> None:
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
        except Exception:
            # A backend is a plugin: its bug must not end the loop. The next pass tries again.
            log.exception("%s failed", name)
        finally:
            if at_once:
                self.kick()

    async def _apply(self, backend: Backend, work: _Work, workload: Workload) -> None:
        if workload.retire:
            await self._table.drain(workload.retire, DRAIN)
        self._check_leadership()
        try:
            await backend.apply(workload)
        except WorkloadFailed as error:
            work.error = error
        except Unavailable as error:
            work.away = error
            raise
        except Exception as error:
            work.error = WorkloadFailed(
                f"backend {backend.name} failed: {type(error).__name__}: {error}",
                hint="This is a defect of the backend's plugin; its trace is in Longshore's log.",
            )
            raise
        work.away = None

    async def _stop(self, backend: Backend, key: VersionKey, have: WorkloadStatus | None) -> None:
        await self._table.drain([replica.id for replica in have.replicas] if have else [], DRAIN)
        self._check_leadership()
        await backend.delete(key)

    def _check_leadership(self) -> None:
        if not self._leadership.leads:
            raise Deposed("left to another controller, which leads by now")

    async def _put_to_sleep(
        self, backend: Backend, record: VersionRecord, work: _Work, have: WorkloadStatus | None
    ) -> None:
        key = record.version.key
        replicas = [replica.id for replica in have.replicas] if have else []
        quiet = await self._table.drain(replicas, DRAIN)
        self._check_leadership()
        if not quiet and self._demand.chose(key):
            # Nobody asked for this sleep; whoever came in its last moment may take their time.
            await self._demand.stay(key)
            return
        work.deleting = True
        if record.wish is Wish.SLEEP and isinstance(backend, KeepsAsleep):
            await backend.rest(key)
        else:
            await backend.delete(key)

    # --- reporting ----------------------------------------------------------------------------

    async def _report(self, world: _World, epoch: int | None) -> None:
        """Write to SQL what changed, and tell it to those who listen.

        Args:
            world: what the pass found.
            epoch: of the leadership in which it began.
        """
        self._found = {key: step.status for key, (_, step) in world.steps.items()}
        changed: dict[VersionKey, VersionStatus] = {}
        events: list[Event] = []
        for key, (record, step) in world.steps.items():
            if step.status != record.status:
                changed[key] = step.status
                events += events_of(key, record.status, step.status, self._now())
        try:
            if changed:
                await self._registry.save_status(changed, epoch=epoch)
            if events:
                await self._registry.add_events(events)
            if self._now() - self._loads_saved > LOADS_EVERY:
                loads = {load.key: load for load in self._table.loads()}
                news = [each for key, each in loads.items() if self._saved.get(key) != each]
                await self._registry.save_loads(news)
                self._loads_saved, self._saved = self._now(), loads
        except Unavailable as error:
            # The next pass finds the same differences and writes them.
            log.warning("the registry does not answer: %s", error.message)
            return
        except Deposed as error:
            log.warning("%s", error.message)
            return
        for event in events:
            await self._tell(event)

    async def _tell(self, event: Event) -> None:
        log.info("%s %s: %s", event.key, event.kind, event.message)
        await self._hooks.every("longshore_on_event", event=event)


def _not_taken(step: Step, backend: str, why: Unavailable) -> Step:
    """Return the step with a status that tells that the backend cannot be told anything now."""
    reason = f"backend {backend} does not answer: {why.message}"
    update = {"reason": reason, "hint": why.hint}
    return Step(step.status.model_copy(update=update), step.action)


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
