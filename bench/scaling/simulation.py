"""A version under load in simulated time: all is simulated but the scaler and its plugin."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pluggy

from longshore.core import hookspecs
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.scaler import SAMPLE_EVERY, Scaler
from longshore.core.types import (
    Address,
    Decision,
    Load,
    Replica,
    ReplicaState,
    Version,
    VersionRecord,
    WorkloadStatus,
)
from longshore.plugins.scaling import Plugin, ScalingSettings

ADDRESS = Address(host="127.0.0.1", port=1)
"""Of all replicas, at which nobody asks."""

STEP = 0.1
"""Seconds of one step."""

PASS_EVERY = 5.0
"""Seconds between the controller's passes, while nothing asks for one."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a replica of the model can do."""

    service: float = 0.4
    """Seconds that one request takes."""
    start: float = 10.0
    """Seconds from a replica's start to readiness."""


@dataclass(slots=True)
class Run:
    """What became of a trace, second by second."""

    demand: list[float] = field(default_factory=list)
    """Requests in flight and waiting."""
    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    ideal: list[int] = field(default_factory=list)
    """How many replicas would just have carried what arrived."""
    refused: float = 0.0
    """Requests that found all replicas busy."""
    why: list[tuple[float, int, str]] = field(default_factory=list)
    """Each change: when, to how many, and why."""

    @property
    def changes(self) -> int:
        """How often the wanted number changed."""
        return len(self.why)

    @property
    def short(self) -> int:
        """Seconds in which fewer replicas were ready than the load needed."""
        return sum(ready < ideal for ready, ideal in zip(self.ready, self.ideal, strict=True))

    @property
    def spent(self) -> float:
        """Seconds of replicas, as a multiple of what just would have carried the load."""
        return sum(self.ready) / sum(self.ideal)


class Simulation:
    """One version, whose replicas and requests are simulated, and the scaler that scales it.

    A replica works on as many requests at a time as its target says, each in the time of its
    service; what comes beyond waits there, up to the limit of its concurrency; the rest is
    refused.

    Args:
        version: says how it is scaled.
        model: what its replicas can do.
        settings: of the scaling plugin.
    """

    def __init__(self, version: Version, model: Model, settings: ScalingSettings) -> None:
        self._model = model
        self._scaling, self._limits = version.spec.scaling, version.spec.limits
        self._record = VersionRecord(version=version)
        self._now = 0.0
        self._demand = 0.0
        self._ready = self._wanted = max(self._scaling.min, 1)
        self._starting: list[float] = []
        """When each replica that starts will be ready."""
        self._due = 0.0
        """When the next pass is."""
        self._why = ""
        self._run = Run()
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(Plugin(settings, lambda: self._now), name="scaling")
        self._scaler = Scaler(
            Hooks(manager),
            load=lambda key: Load(key=key, in_flight=round(self._demand)),
            tell=self._hear,
            kick=self._kick,
            acts=lambda: True,
            gathers=lambda: False,
            now=lambda: datetime.fromtimestamp(self._now, UTC),
            clock=lambda: self._now,
        )

    async def run(self, trace: Sequence[float]) -> Run:
        """Let a trace come.

        Args:
            trace: requests a second, second by second.
        """
        in_a_second = round(1 / STEP)
        for step in range(len(trace) * in_a_second):
            self._now = step * STEP
            rate = trace[step // in_a_second]
            self._carry(rate)
            if step % round(SAMPLE_EVERY / STEP) == 0:
                self._scaler.sample()
            if self._now >= self._due:
                self._due = self._now + PASS_EVERY
                await self._pass()
            if step % in_a_second == 0:
                self._note(rate)
        return self._run

    def _carry(self, rate: float) -> None:
        """Have replicas come up, and requests come and be answered, for one step."""
        self._ready += sum(at <= self._now for at in self._starting)
        self._starting = [at for at in self._starting if at > self._now]
        at_a_time = min(self._demand, self._ready * self._scaling.target)
        served = at_a_time / self._model.service * STEP
        demand = max(0.0, self._demand + rate * STEP - served)
        most = self._ready * self._limits.concurrency
        self._run.refused += max(0.0, demand - most)
        self._demand = min(demand, most)

    async def _pass(self) -> None:
        """Start and stop replicas as the scaler wants, those that still start first."""
        wanted = await self._scaler.wanted(self._record, _running(self._record, self._ready))
        if wanted != self._wanted:
            self._run.why.append((self._now, wanted, self._why))
        self._wanted = wanted
        starting = self._starting[: max(0, wanted - self._ready)]
        new = wanted - self._ready - len(starting)
        self._starting = starting + [self._now + self._model.start] * new
        self._ready = min(self._ready, wanted)

    async def _hear(self, _: VersionKey, decisions: Sequence[Decision]) -> None:
        self._why = decisions[-1].why

    def _kick(self) -> None:
        self._due = self._now

    def _note(self, rate: float) -> None:
        run, scaling = self._run, self._scaling
        needed = math.ceil(rate * self._model.service / scaling.target)
        run.demand.append(self._demand)
        run.wanted.append(self._wanted)
        run.ready.append(self._ready)
        run.ideal.append(min(max(needed, scaling.min, 1), scaling.max))


def simulate(
    trace: Sequence[float], version: Version, model: Model, settings: ScalingSettings | None = None
) -> Run:
    """Let a trace come to a version, and scale it.

    Args:
        trace: requests a second, second by second.
        version: says how it is scaled.
        model: what its replicas can do.
        settings: of the scaling plugin; its defaults where None.
    """
    simulation = Simulation(version, model, settings or ScalingSettings())
    return asyncio.run(simulation.run(trace))


def _running(record: VersionRecord, ready: int) -> WorkloadStatus:
    replicas = (
        Replica(id=f"{each}", state=ReplicaState.READY, address=ADDRESS) for each in range(ready)
    )
    return WorkloadStatus(key=record.version.key, fingerprint="", replicas=tuple(replicas))
