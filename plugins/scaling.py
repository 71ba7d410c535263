"""The built-in plugin ``scaling``: quickly enough replicas, and slowly fewer.

It goes by requests in flight and held, as Knative's autoscaler does: their average over a minute
decides, and a burst that needs twice of what is ready is answered by the average of the last
seconds. On the way down it goes by the most that was needed lately, as Kubernetes'
HorizontalPodAutoscaler does, so that load that comes and goes does not flap.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from longshore.core.averages import AVERAGE, RECENT
from longshore.core.hookspecs import hookimpl
from longshore.core.types import Load, ScaleWish, Scaling, Version

if TYPE_CHECKING:
    from datetime import datetime

    from longshore.core.names import VersionKey


class ScalingSettings(BaseModel):
    """Settings of the plugin ``scaling`` in plugins.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    scale_down_after: float = Field(default=300, ge=0)
    """Seconds for which fewer replicas must have been enough before some are stopped."""
    panic_at: float = Field(default=2, ge=1)
    """How many times the ready replicas a burst must need to be answered at once."""
    tolerance: float = Field(default=0.1, ge=0, le=1)
    """By which share the average may differ from the target while the number stays."""


class Memory:
    """What was decided about one version lately; lost, it scales nothing down too early.

    Args:
        wanted: how many replicas it is to have now.
        now: seconds of a clock that never goes back.
    """

    __slots__ = ("_needed", "asked", "panics_until", "settled", "wanted")

    def __init__(self, wanted: int, now: float) -> None:
        self.wanted = wanted
        self.asked = now
        self.panics_until = -math.inf
        self.settled = -math.inf
        """When what is observed is no more that of fewer replicas."""
        # Only what may be the most of a later moment is kept, so that they fall.
        self._needed: deque[tuple[float, int]] = deque([(now, wanted)])

    def needs(self, replicas: int, now: float) -> None:
        """Note how many were needed in a moment."""
        while self._needed and self._needed[-1][1] <= replicas:
            self._needed.pop()
        self._needed.append((now, replicas))

    def most(self, seconds: float, now: float) -> int:
        """Return the most that was needed in the last seconds."""
        while len(self._needed) > 1 and self._needed[0][0] < now - seconds:
            self._needed.popleft()
        return self._needed[0][1]


class Plugin:
    """Scales versions by what routers observe.

    Args:
        settings: an operator's.
        clock: seconds that never go back; another one in tests and in the simulator.
    """

    Settings = ScalingSettings

    def __init__(
        self, settings: ScalingSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._known: dict[tuple[VersionKey, datetime], Memory] = {}
        self._tidied = clock()

    @hookimpl(trylast=True)
    def longshore_scale(self, version: Version, load: Load, replicas: int) -> ScaleWish:
        """Decide by the averages of what is in flight and held."""
        now, bounds = self._clock(), version.spec.scaling
        self._tidy(now)
        known = (version.key, version.created_at)
        memory = self._known.get(known)
        if memory is None:
            memory = self._known[known] = Memory(max(replicas, bounds.min, 1), now)
        memory.asked = now
        return decide(memory, load, replicas, bounds, settings=self._settings, now=now)

    def _tidy(self, now: float) -> None:
        """Forget versions that nobody asks about any more."""
        longest = self._settings.scale_down_after + AVERAGE
        if now - self._tidied > longest:
            self._tidied = now
            self._known = {
                key: memory for key, memory in self._known.items() if now - memory.asked < longest
            }


def decide(
    memory: Memory,
    load: Load,
    ready: int,
    bounds: Scaling,
    *,
    settings: ScalingSettings,
    now: float,
) -> ScaleWish:
    """Return how many replicas a version should have, and why.

    Args:
        memory: what was decided before; brought up to date.
        load: what routers observe; without averages, the moment counts for them.
        ready: how many replicas are ready.
        bounds: the user's.
        settings: an operator's.
        now: seconds of a clock that never goes back.
    """
    moment = float(load.in_flight + load.held)
    average = moment if load.average is None else load.average
    recent = moment if load.recent is None else load.recent
    least = max(bounds.min, 1)
    current = min(max(memory.wanted, least), bounds.max)

    def enough(demand: float) -> int:
        """Return how many carry a demand; those that are there, where it is about their target."""
        about = abs(demand / (bounds.target * current) - 1) <= settings.tolerance
        return current if about else math.ceil(demand / bounds.target)

    steady, burst = enough(average), enough(recent)
    if ready < current:
        memory.settled = now + RECENT
    if now < memory.settled and burst < settings.panic_at * current:
        # What waits until those that are started already are ready tells nothing of how many it
        # takes then.
        steady, burst = min(steady, current), min(burst, current)
    if burst > current and burst >= settings.panic_at * max(ready, 1):
        memory.panics_until = now + AVERAGE
    panics = now < memory.panics_until
    needed = max(steady, burst) if panics else steady
    # What the last seconds filled is kept as well, or the next peak of the same height is a burst.
    filled = min(burst, current)
    memory.needs(min(max(needed, filled, least), bounds.max), now)

    wanted = max(needed, min(current, memory.most(settings.scale_down_after, now)))
    memory.wanted = min(max(wanted, least), bounds.max)
    if needed == burst and panics and burst > steady:
        told = _rounded(recent, bounds.target)
        why = f"a burst: averaged {told} requests in flight over {RECENT:g} s"
    else:
        told = _rounded(average, bounds.target)
        why = f"averaged {told} requests in flight over {AVERAGE:g} s"
    why += f" at {bounds.target} per replica need {needed}"
    if memory.wanted > max(needed, least):
        why += f"; {memory.wanted} were needed in the last {settings.scale_down_after:g} s"
    elif memory.wanted != needed:
        why += f"; the bounds are {least} to {bounds.max}"
    return ScaleWish(replicas=memory.wanted, why=why)


def _rounded(demand: float, target: int) -> str:
    """Return a demand in as few digits as still need as many replicas."""
    for digits in range(3):
        text = f"{demand:.{digits}f}"
        if math.ceil(float(text) / target) == math.ceil(demand / target):
            return text
    return f"{demand:.3g}"
