"""Recording: what passes find is written to SQL, and told to plugins that listen.

Statuses and events are written when they change, and loads every now and then: they outlive this
process, and tell the next one when each version was called last and which are missed most.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from longshore.core.convergence import Step
from longshore.core.errors import Deposed, Unavailable
from longshore.core.events import events_of
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.routes import RouteTable
from longshore.core.types import Decision, Event, Load, VersionRecord, VersionStatus

log = logging.getLogger(__name__)

LOADS_EVERY = timedelta(seconds=30)


class Recording:
    """Writes what was found, and nothing of the wish.

    Args:
        registry: where it is written.
        hooks: the plugins, told of events.
        table: what routers observe.
        now: the time of day.
    """

    def __init__(
        self, registry: Registry, hooks: Hooks, table: RouteTable, *, now: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._hooks = hooks
        self._table = table
        self._now = now
        self._loads_saved = now()
        self._saved: Mapping[VersionKey, Load] = {}
        """What was written of each version then; empty where another may have written since."""
        self._earlier: Mapping[VersionKey, Load] | None = None
        """What was observed before this controller came."""

    def leadership_changed(self) -> None:
        """Write all loads at the next time, for another controller may have written since."""
        self._saved = {}

    async def read_earlier_loads(self) -> None:
        """Read once what was called before this start, when nobody has called anything yet."""
        if self._earlier is None:
            with contextlib.suppress(Unavailable):
                self._earlier = await self._registry.loads()

    def rate(self, key: VersionKey) -> float:
        """Return how many requests a second a version gets, or got before this start."""
        before = (self._earlier or {}).get(key)
        return max(self._table.load(key).rate, before.rate if before else 0.0)

    async def record(
        self, steps: Mapping[VersionKey, tuple[VersionRecord, Step]], epoch: int | None
    ) -> None:
        """Write to SQL what changed, and tell it to those who listen.

        Where SQL is away, return silently: the next pass finds the same differences.

        Args:
            steps: what the pass found and decided of each version.
            epoch: of the leadership in which it began.
        """
        changed: dict[VersionKey, VersionStatus] = {}
        events: list[Event] = []
        for key, (record, step) in steps.items():
            if step.status != record.status:
                changed[key] = step.status
                events += events_of(record, step.status, self._now())
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
            await self.tell(event)

    async def scaled(self, key: VersionKey, decisions: Sequence[Decision]) -> None:
        """Keep decisions about a version's number of replicas, and tell everybody of them.

        Args:
            key: the version.
            decisions: each with the number of before among its inputs.

        Raises:
            Unavailable: SQL is away.
        """
        events = [
            Event(
                kind="scaled",
                key=key,
                message=f"from {each.inputs['before']} to {each.outcome}: {each.why}",
                at=each.at,
            )
            for each in decisions
        ]
        await self._registry.add_decisions(key, decisions)
        await self._registry.add_events(events)
        for event in events:
            await self.tell(event)

    async def tell(self, event: Event) -> None:
        """Tell everybody of an event."""
        log.info("%s %s: %s", event.key, event.kind, event.message)
        await self._hooks.every("longshore_on_event", event=event)
