"""The controller: makes the backends run what SQL wishes, and tells routers about it.

It is level-triggered. Each pass reads the whole wish and all that runs, asks ``convergence`` for
the next step of every version, and takes these steps. A pass that was interrupted, missed or
repeated does no harm, so nothing here needs to be remembered across a crash.

A pass goes through other modules: ``looking`` reads, ``convergence`` decides, ``publishing`` tells
routers, ``acting`` asks backends, and ``recording`` writes what was found.

Of several controllers one leads. The others only follow: see ``following``.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.core.acting import Acting, Errand
from longshore.core.background import cut_off, survived
from longshore.core.convergence import (
    Action,
    Step,
    converge,
    surplus,
    workload_of,
)
from longshore.core.demand import Demand
from longshore.core.errors import Unavailable
from longshore.core.following import LOOK_EVERY, SETTLE, Following, heed, listed
from longshore.core.foresight import Foresight
from longshore.core.hooks import Hooks
from longshore.core.leadership import ALONE, Leads, must_lead
from longshore.core.ledger import Ledger
from longshore.core.looking import Looking, World
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, Registry
from longshore.core.publishing import Publisher, route_of
from longshore.core.recording import Recording
from longshore.core.routes import RouteTable
from longshore.core.scaler import Scaler
from longshore.core.types import (
    Load,
    Model,
    Placement,
    State,
    Version,
    VersionRecord,
    Wish,
    Workload,
    utc_now,
)

log = logging.getLogger(__name__)

WORKING_INTERVAL = 0.5
"""Seconds between passes while something is under way, so that progress is seen."""

SETTLE_BRIEFLY = 0.005
"""Seconds that hints are gathered while a version is woken, for somebody waits."""

GATHER = timedelta(seconds=3)
"""After it began to lead, while routers have not told yet what they carry, nothing is made less."""


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
    errand: Errand = field(default_factory=Errand)
    retry_now: bool = False
    at_rest: VersionRecord | None = None
    """As it was read when it was found to be at rest, with nothing to do and nothing to write;
    while that stands, and nothing of it runs, there is nothing to decide."""


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
        self._work: dict[VersionKey, _Work] = {}
        self._looking = Looking(registry, backends)
        self._recording = Recording(registry, hooks, table, now=now)
        self._next_try: datetime | None = None
        self._led_since: datetime | None = None
        self._scaler = Scaler(
            hooks,
            load=table.load,
            tell=self._recording.scaled,
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
            tell=self._recording.tell,
            leads=lambda: leadership.leads,
            since=lambda: None if self._gathers else self._led_since or began,
            now=now,
        )
        self.wake = self._demand.ask
        """Hear that requests wait for a version; cheap, and any number of times."""
        self._acting = Acting(backends, hooks, table, self._demand, leadership, kick=self.kick)
        self.passes = 0
        """How many passes were completed."""

    def models(self) -> Sequence[Model]:
        """Return what is registered, as the last pass read it."""
        return self._looking.models

    def load(self, key: VersionKey) -> Load:
        """Return what all routers observe of a version."""
        return self._table.load(key)

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
            asyncio.create_task(
                heed(backend, self._hooks, self.kick, self._interval), name=f"watch {name}"
            )
            for name, backend in self._backends.items()
        ]
        try:
            yield
        finally:
            await cut_off([*tasks, *self._acting.tasks])

    @property
    def _gathers(self) -> bool:
        """Whether routers may not have told yet what they carry."""
        return self._led_since is not None and self._now() - self._led_since < GATHER

    def leadership_changed(self) -> None:
        """Begin to act, by a full pass at once; or cease to, in the midst of whatever is done."""
        self._led_since = self._now()
        self._recording.leadership_changed()
        self.ledger.leadership_changed()
        if not self._leadership.leads:
            self._acting.drop_all()
            self._work.clear()
        self.kick()

    async def _loop(self) -> None:
        while True:
            self._kicked.clear()
            with survived(log, "controller pass failed"):
                await self.converge_once()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._kicked.wait()
                    await asyncio.sleep(SETTLE_BRIEFLY if self.ledger.under_way else SETTLE)

    @property
    def _pause(self) -> float:
        """Seconds until the next pass, if nobody asks for one."""
        if not self._leadership.leads:
            return LOOK_EVERY
        busy = any(work.errand.busy for work in self._work.values())
        at_work = busy or bool(self._acting.removing)
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
        world = await self._looking.look(self._acting.still_removing)
        anew = self._let_go(world.known)
        self.ledger.forget(anew)
        await self.ledger.read(world.known, began)
        world.sort(anew)
        for model in world.models:
            for record in model.versions:
                await self._decide(world, record)
        statuses = {key: step.status for key, (_, step) in world.steps.items()}
        await self._publisher.publish(
            route_of(model, statuses, world.have, world.wanted, self.ledger)
            for model in world.models
        )
        await self._recording.read_earlier_loads()
        must_lead(self._leadership)
        self._acting.remove_strangers(world)
        workloads = {key: work.base for key, work in self._work.items() if work.base}
        self._acting.foretell(world, workloads)
        # Where all of them are to be started, those that are missed most come first.
        acting = [each for each in world.steps.values() if each[1].action is not Action.NONE]
        for record, step in sorted(acting, key=self._missed, reverse=True):
            self._act(world, record, step)
        # Those that were due before stay so only while their backend is away.
        waits = [step.status.retry_at for _, step in world.steps.values() if step.status.retry_at]
        self._next_try = min((each for each in waits if each > began), default=None)
        self._looking.remember(statuses)
        await self._recording.record(world.steps, epoch)
        loads = {load.key: load for load in self._table.loads()}
        await self.ledger.review(statuses, world.have, loads, self._now())
        if await self._demand.review(world.models, loads):
            self.kick()
        self.passes += 1

    async def _start_now(self, record: VersionRecord) -> None:
        """Start a version that was woken, without waiting for a pass; the next one goes on."""
        key = record.version.key
        self._woken.add(key)
        world = self._looking.glance(record.version, self._acting.removing)
        await self._decide(world, record)
        record, step = world.steps[key]
        if step.action is Action.APPLY:
            self._act(world, record, step)
        self.kick()

    def _let_go(self, known: Mapping[VersionKey, Version]) -> set[VersionKey]:
        """Let go of versions that are registered no more, or anew, and return which."""
        gone: set[VersionKey] = set()
        for key, work in list(self._work.items()):
            version = known.get(key)
            if version is None or work.registered not in (None, version.created_at):
                del self._work[key]
                self._scaler.forget(key)
                gone.add(key)
                work.errand.cancel()
        return gone

    async def _decide(self, world: World, record: VersionRecord) -> None:
        key, name = record.version.key, record.version.placement.backend
        if key in self._woken:
            record = record.model_copy(update={"wish": Wish.RUN})
        work = self._work.get(key) or self._work.setdefault(key, _Work())
        errand = work.errand
        work.registered = record.version.created_at
        if name in world.away:
            world.steps[key] = record, _not_taken(Step(record.status), name, world.away[name])
            return
        if name not in self._backends:
            was = record.status
            status = was.model_copy(
                update={
                    "state": State.FAILED,
                    "since": was.since if was.state is State.FAILED else self._now(),
                    "reason": f"no enabled plugin offers the backend {name!r}",
                    "hint": "Enable it in plugins.toml, or register a version for another one.",
                }
            )
            world.steps[key] = record, Step(status)
            return
        have = world.have.get(key)
        if work.at_rest is record and not (have or errand.busy or work.retry_now):
            world.wanted[key], world.steps[key] = 0, (record, Step(record.status))
            return
        # Woken while the last requests are waited for, what was to go stays.
        if errand.stopping and record.wish is Wish.RUN and not errand.turn_back():
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
            busy=errand.busy or (name, key) in world.going,
            error=errand.error,
            now=self._now(),
            retry_now=work.retry_now,
        )
        if not errand.busy:
            work.retry_now = False
        if errand.away and (errand.busy or step.action is Action.APPLY):
            step = _not_taken(step, name, errand.away)
        rests = record.wish is not Wish.RUN and not have and step == Step(record.status)
        work.at_rest = record if rests else None
        world.steps[key] = record, step

    def _missed(self, step: tuple[VersionRecord, Step]) -> float:
        """Return how many requests a second a version gets, or got before this start."""
        return self._recording.rate(step[0].version.key)

    def _act(self, world: World, record: VersionRecord, step: Step) -> None:
        """Ask the backend for what was decided, unless something of the version is under way."""
        key, name = record.version.key, record.version.placement.backend
        work, have = self._work[key], world.have.get(key)
        if work.errand.busy or (name, key) in self._acting.removing:
            return  # woken meanwhile, or what runs there goes first
        if step.action is Action.DELETE:
            self._acting.put_to_sleep(record, have, work.errand)
            return
        assert work.base is not None  # noqa: S101 - _decide made it
        wanted = world.wanted[key]
        update = {"replicas": wanted, "retire": surplus(have, wanted)}
        self._acting.apply(name, work.base.model_copy(update=update), work.errand)
        self.ledger.applied(key, self._now())


def _not_taken(step: Step, backend: str, why: Unavailable) -> Step:
    """Return the step with a status that tells that the backend cannot be told anything now."""
    reason = f"backend {backend} does not answer: {why.message}"
    update = {"reason": reason, "hint": why.hint}
    return Step(step.status.model_copy(update=update), step.action)
