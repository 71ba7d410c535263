"""How many replicas each version should have: asks the plugins, and remembers what they said."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from longshore.core.averages import Averages
from longshore.core.convergence import endpoints_of, surplus
from longshore.core.errors import Unavailable
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.types import Decision, Load, VersionRecord, Wish, WorkloadStatus
from longshore.core.wishes import seen

SAMPLE_EVERY = 1.0
"""Seconds between samples of the loads of those versions that are scaled here."""

AUTOSCALER = "autoscaler"
"""Who decided where a backend's own did."""


class Scaler:
    """Decides the number of replicas where no autoscaler of a backend does.

    Args:
        hooks: the plugins, which decide.
        load: what routers observe of a version at this moment.
        tell: keeps decisions.
        kick: asks the controller for a pass soon.
        acts: whether this process leads, and is to leave word of what it decides.
        gathers: whether routers may not have told yet what they carry; nothing is made less then.
        now: the time of day.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        hooks: Hooks,
        *,
        load: Callable[[VersionKey], Load],
        tell: Callable[[VersionKey, Sequence[Decision]], Awaitable[None]],
        kick: Callable[[], None],
        acts: Callable[[], bool],
        gathers: Callable[[], bool],
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hooks = hooks
        self._load = load
        self._tell = tell
        self._kick = kick
        self._acts = acts
        self._gathers = gathers
        self._now = now
        self._clock = clock
        self._averages = Averages()
        self._scaled: dict[VersionKey, int] = {}
        """What each version that is scaled here was last scaled to."""
        self._autoscaled: dict[VersionKey, int] = {}
        """What autoscalers of backends wanted last, each for a version that is not scaled here."""
        self._full: dict[VersionKey, float] = {}
        """How many requests these replicas carry at their target; infinite where there can be no
        more of them."""

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY)
            self.sample()

    def sample(self) -> None:
        """Take a sample, and ask for a pass where it shows more than the replicas are to carry."""
        loads = [self._load(key) for key in self._scaled]
        self._averages.sample(loads, self._clock())
        if any(load.in_flight + load.held > self._full[load.key] for load in loads):
            self._kick()

    async def wanted(self, record: VersionRecord, have: WorkloadStatus | None) -> int:
        """Return how many replicas a version should have.

        Args:
            record: the version, and what is wished of it.
            have: what runs of it.
        """
        key, scaling = record.version.key, record.version.spec.scaling
        least = max(scaling.min, 1)
        if record.wish is not Wish.RUN or scaling.max <= 1:
            self.forget(key)
            return 1 if record.wish is Wish.RUN else 0
        if have and have.autoscaled_to is not None:
            # The number of an autoscaler is its own, and nobody else writes it.
            await self._note(key, have)
            return len(have.replicas) or least
        ready = len(endpoints_of(have))
        load = self._averages.told(self._load(key), self._clock())
        answer = await self._hooks.first(
            "longshore_scale", version=record.version, load=load, replicas=ready
        )
        wanted = max(least, min(scaling.max, answer.value.replicas if answer else 1))
        if self._gathers():
            wanted = max(wanted, min(len(have.replicas) if have else 0, scaling.max))
        # What this process has not scaled yet is as many as run, or as a start begins with.
        before = self._scaled.get(key, max(least, len(surplus(have, 0))))
        if answer and before != wanted:
            decision = Decision(
                hook="longshore_scale",
                plugin=answer.plugin,
                outcome=wanted,
                inputs={**_seen(load), "ready": ready, "before": before},
                why=answer.value.why,
                at=self._now(),
            )
            await self._leave_word(key, decision)
        self._scaled[key] = wanted
        self._full[key] = wanted * scaling.target if wanted < scaling.max else math.inf
        return wanted

    async def _note(self, key: VersionKey, have: WorkloadStatus) -> None:
        """Leave word of what an autoscaler did, whose reasons are its own."""
        now, before = have.autoscaled_to, self._autoscaled.get(key)
        self.forget(key)
        if not now:
            return  # it has only begun
        self._autoscaled[key] = now
        if before and before != now:
            # Only of the moment: averages are kept of what is scaled here.
            load = seen(self._load(key))
            inputs = {**load, "ready": len(endpoints_of(have)), "before": before}
            decision = Decision(
                hook="scale",
                plugin=AUTOSCALER,
                outcome=now,
                inputs=inputs,
                why="the autoscaler of its backend wants so many",
                at=self._now(),
            )
            await self._leave_word(key, decision)

    async def _leave_word(self, key: VersionKey, decision: Decision) -> None:
        """Leave word of a new number of replicas, if this process leads."""
        if self._acts():
            with contextlib.suppress(Unavailable):
                await self._tell(key, [decision])

    def forget(self, key: VersionKey) -> None:
        """Let go of a version that is scaled here no more; if it never was, return silently."""
        self._scaled.pop(key, None)
        self._full.pop(key, None)
        self._autoscaled.pop(key, None)


def _seen(load: Load) -> dict[str, float]:
    return {
        "in_flight": load.in_flight,
        "held": load.held,
        "recent": round(load.recent or 0, 1),
        "average": round(load.average or 0, 1),
        "rate": load.rate,
    }
