"""The learner: measures now and then what ready versions use, and lets plans follow it.

The most that was seen is kept in SQL, and written seldom: thousands may run. What a plan changes
of containers waits until its version sleeps: nothing is restarted for it.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from longshore.core.background import beside, survived
from longshore.core.convergence import workload_of
from longshore.core.errors import LongshoreError, Unavailable
from longshore.core.hooks import Hooks
from longshore.core.measures import (
    GpuUses,
    Measured,
    Measures,
    RemembersMeasures,
    ReplicaUse,
    Usage,
    decided,
    facts_of,
    joined,
    noted,
    settings_of,
    usage_of,
)
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, Registry
from longshore.core.types import (
    Decision,
    Evidence,
    Model,
    State,
    Version,
    VersionRecord,
    Wish,
    utc_now,
)

log = logging.getLogger(__name__)

HOOK = "longshore_measure_gpus"

EVERY = 30.0
"""Seconds between rounds."""

MOST = 64
"""How many versions are measured in one round, and how many plans are changed at most; of more,
those come first that were measured longest ago."""

GREW = 0.05
"""By which part a measure has to grow to be written at once; others wait until there are twice as
many readings as were written."""

ANEW = timedelta(hours=1)
"""How often all is read again."""

Replan = Callable[[Version, Mapping[str, Evidence]], Awaitable[tuple[Version, Sequence[Decision]]]]
_Kind = tuple[str, str]
"""An image's digest, and what tells settings apart."""


class Learner:
    """Runs rounds of measuring.

    Args:
        registry: where it does not remember measures, nothing is done.
        models: returns what is registered, as of some seconds ago.
        backends: what tells of replicas, by name.
        hooks: plugins that tell of GPUs.
        replan: returns a version with the plan that follows from what was measured.
        acts: whether this process may act now; one of several does.
        now: the clock; another one in tests.
    """

    def __init__(
        self,
        registry: Registry,
        models: Callable[[], Sequence[Model]],
        backends: Mapping[str, Backend],
        hooks: Hooks,
        replan: Replan,
        *,
        acts: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._models = models
        self._backends = backends
        self._hooks = hooks
        self._replan = replan
        self._acts = acts
        self._now = now
        self._known: dict[_Kind, Measured] = {}
        """As it was written."""
        self._fresh: dict[_Kind, Measured] = {}
        """What was found since."""
        self._read_at: datetime | None = None
        self._round = 0
        self._turns: dict[VersionKey, int] = {}
        """In which round each version was measured last."""
        self._specs: dict[VersionKey, tuple[datetime, str]] = {}
        """When each version was registered, and what tells its settings apart."""
        self._judged: dict[VersionKey, object] = {}
        """From what each plan was judged last."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make rounds while the context is open."""
        async with beside({"learner": self._rounds()}):
            yield

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            with survived(log, "what versions use cannot be measured"):
                await self.look()

    async def look(self) -> None:
        """Make one round.

        Raises:
            Unavailable: SQL is away.
        """
        registry: object = self._registry
        if not isinstance(registry, RemembersMeasures):
            return
        if not self._acts():
            # Whoever does may write meanwhile.
            self._read_at = None
            self._fresh.clear()
            self._judged.clear()
            return
        records = [record for model in self._models() for record in model.versions]
        if self._read_at is None or not timedelta() <= self._now() - self._read_at < ANEW:
            self._known = {_kind(each): each for each in await registry.measures()}
            self._read_at = self._now()
        await self._measure(records)
        if due := [each for kind, each in self._fresh.items() if self._is_due(kind, each)]:
            await registry.add_measures(due)
            for each in due:
                before = self._known.get(_kind(each))
                self._known[_kind(each)] = joined(before, each) if before else each
                del self._fresh[_kind(each)]
        await self._judge(registry, records)

    # --- measuring ----------------------------------------------------------------------------

    async def _measure(self, records: Iterable[VersionRecord]) -> None:
        self._round += 1
        ready = {
            record.version.key: record.version
            for record in records
            if record.status.state is State.READY
            and isinstance(self._backends.get(record.version.placement.backend), Measures)
        }
        self._turns = {key: self._turns.get(key, 0) for key in ready}
        chosen = sorted(ready, key=lambda key: self._turns[key])[:MOST]
        by_backend: defaultdict[str, list[VersionKey]] = defaultdict(list)
        for key in chosen:
            self._turns[key] = self._round
            by_backend[ready[key].placement.backend].append(key)
        used: dict[VersionKey, Sequence[ReplicaUse]] = {}
        for name, keys in by_backend.items():
            backend = self._backends[name]
            assert isinstance(backend, Measures)  # noqa: S101 - as chosen
            try:
                used |= await backend.measured(keys)
            except Unavailable as error:
                log.warning("what versions on %s use is not known: %s", name, error.message)
        gpus = await self._gpus() if _have_gpus(used) else GpuUses()
        for key, replicas in used.items():
            if replicas:
                self._add(ready[key], usage_of(replicas, gpus))

    async def _gpus(self) -> GpuUses:
        answer, failures = await self._hooks.first_told(HOOK)
        if answer:
            uses: GpuUses = answer.value
            return uses
        told = "; ".join(map(str, failures))
        return GpuUses(unread=told or f"no enabled plugin answers {HOOK}")

    def _add(self, version: Version, usage: Usage) -> None:
        at = self._now()
        found = Measured(
            digest=version.image.digest,
            settings=self._settings(version)[1],
            resources=version.spec.resources,
            version=version.key,
            **dict(usage),
            since=at,
            last_at=at,
        )
        before = self._fresh.get(_kind(found))
        self._fresh[_kind(found)] = joined(before, found) if before else found

    def _is_due(self, kind: _Kind, found: Measured) -> bool:
        """Return whether something is to be written: many versions are measured again and again."""
        known = self._known.get(kind)
        return (
            known is None
            or found.readings >= known.readings
            or _grew(known.memory_mib, found.memory_mib)
            or _grew(known.gpu_memory_mib, found.gpu_memory_mib)
        )

    # --- plans --------------------------------------------------------------------------------

    async def _judge(self, registry: RemembersMeasures, records: Sequence[VersionRecord]) -> None:
        """Let plans follow what was measured, a bounded number of them in one round."""
        highest = _highest(self._known.values())
        self._specs = {
            record.version.key: self._settings(record.version)
            for record in records
            if record.version.image.digest in highest
        }
        self._judged = {key: self._judged.get(key) for key in self._specs}
        left = MOST
        for record in records:
            key, digest = record.version.key, record.version.image.digest
            if key not in self._specs or not left:
                continue
            _, settings = self._specs[key]
            own = self._known.get((digest, settings))
            rests = record.status.state in {State.ASLEEP, State.COLLECTED}
            asleep = record.wish is not Wish.RUN and rests
            mark = (asleep, self._specs[key], own, _told(highest[digest]))
            if self._judged[key] == mark:
                continue
            found = [own, *highest[digest]] if own else highest[digest]
            if facts := facts_of(found, record.version.spec):
                left -= 1
                try:
                    await self._follow(registry, record.version, facts, asleep=asleep)
                except LongshoreError as error:
                    # Its backend may be away, or a plugin object; others follow all the same.
                    log.warning("the plan of %s stays as it is: %s", key, error.traced)
                    continue
            self._judged[key] = mark

    def _settings(self, version: Version) -> tuple[datetime, str]:
        """Return what tells the settings of a version apart, computed once for each."""
        known = self._specs.get(version.key)
        if known and known[0] == version.created_at:
            return known
        return version.created_at, settings_of(version.spec)

    async def _follow(
        self,
        registry: RemembersMeasures,
        version: Version,
        facts: Mapping[str, Evidence],
        *,
        asleep: bool,
    ) -> None:
        before = version.placement.plan
        changed, decisions = await self._replan(version, facts)
        restarts = workload_of(changed).fingerprint != workload_of(version).fingerprint
        if restarts and not asleep:
            # It runs as it was planned; only what is told of it changes.
            told = noted(before, facts)
            changed, decisions = _with_plan(version, told), decided(before, told, facts, "core")
            restarts = False
        if changed.placement == version.placement:
            return
        saved = await registry.save_plan(changed, changed.placement.plan, asleep=restarts)
        if saved and decisions:
            await self._registry.add_decisions(version.key, decisions)


def _with_plan(version: Version, plan: object) -> Version:
    placement = version.placement.model_copy(update={"plan": plan})
    return version.model_copy(update={"placement": placement})


def _kind(measured: Measured) -> _Kind:
    return measured.digest, measured.settings


def _highest(known: Iterable[Measured]) -> dict[str, Sequence[Measured]]:
    """Return by digest what tells of the most memory, and of the most GPU memory."""
    memory: dict[str, Measured] = {}
    gpus: dict[str, Measured] = {}
    for each in known:
        for best, field in ((memory, "memory_mib"), (gpus, "gpu_memory_mib")):
            before = best.setdefault(each.digest, each)
            if (getattr(each, field) or 0) > (getattr(before, field) or 0):
                best[each.digest] = each
    return {digest: (each, gpus[digest]) for digest, each in memory.items()}


def _told(found: Iterable[Measured]) -> list[tuple[str, int | None, int | None]]:
    return [(each.settings, each.memory_mib, each.gpu_memory_mib) for each in found]


def _have_gpus(used: Mapping[VersionKey, Sequence[ReplicaUse]]) -> bool:
    return any(replica.gpus for replicas in used.values() for replica in replicas)


def _grew(known: int | None, found: int | None) -> bool:
    if found is None or known is None:
        return found is not None
    return found > known * (1 + GREW)
