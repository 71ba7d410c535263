"""A version under load in simulated time: everything is simulated but the scaling itself."""

import math
from dataclasses import dataclass, field

from longshore.core.averages import Averages
from longshore.core.scaler import SAMPLE_EVERY
from longshore.core.types import Load, Version
from longshore.plugins.scaling import Plugin, ScalingSettings

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


def simulate(
    trace: list[float], version: Version, model: Model, settings: ScalingSettings | None = None
) -> Run:
    """Let a trace come to a version, and scale it.

    A replica works on as many requests at a time as its target says, each in the time of its
    service; what comes beyond waits there, up to the limit of its concurrency; the rest is
    refused.

    Args:
        trace: requests a second, second by second.
        version: says how it is scaled.
        model: what its replicas can do.
        settings: of the scaling plugin.
    """
    clock = _Clock()
    plugin = Plugin(settings or ScalingSettings(), clock)
    averages, scaling = Averages(), version.spec.scaling
    run = Run()
    demand = 0.0
    starting: list[float] = []
    ready = wanted = max(scaling.min, 1)
    next_pass = next_sample = 0.0
    for step in range(int(len(trace) / STEP)):
        now = clock.time = step * STEP
        rate = trace[int(now)]
        ready += sum(at <= now for at in starting)
        starting = [at for at in starting if at > now]
        served = min(demand, ready * scaling.target) / model.service * STEP
        demand = max(0.0, demand + rate * STEP - served)
        most = ready * version.spec.limits.concurrency
        run.refused += max(0.0, demand - most)
        demand = min(demand, most)
        load = Load(key=version.key, in_flight=round(demand))
        if now >= next_sample:
            next_sample = now + SAMPLE_EVERY
            averages.sample([load], now)
            if demand > wanted * scaling.target and wanted < scaling.max:
                next_pass = now
        if now >= next_pass:
            next_pass = now + PASS_EVERY
            wish = plugin.longshore_scale(version, averages.told(load, now), ready)
            if wish.replicas != wanted:
                run.why.append((now, wish.replicas, wish.why))
            wanted = wish.replicas
            # Those that start yet are stopped first.
            starting = starting[: max(0, wanted - ready)]
            starting += [now + model.start] * (wanted - ready - len(starting))
            ready = min(ready, wanted)
        if step % round(1 / STEP) == 0:
            needed = math.ceil(rate * model.service / scaling.target)
            run.demand.append(demand)
            run.wanted.append(wanted)
            run.ready.append(ready)
            run.ideal.append(min(max(needed, scaling.min, 1), scaling.max))
    return run


class _Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time
