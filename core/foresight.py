"""Foresight: whose calls are expected, by what plugins make of when versions were called before.

Without a plugin that implements ``longshore_expect_calls`` nothing is remembered, nothing asked.
"""

import bisect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from longshore.core.errors import Unavailable
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry, RemembersCalls
from longshore.core.types import Load, Model, Version, Wish
from longshore.core.wake_times import WakeTimes

log = logging.getLogger(__name__)

HOOK = "longshore_expect_calls"
SLOT = timedelta(minutes=5)
"""What is remembered of a version's calls is in which of these there were some."""

KEPT = timedelta(days=29)
"""How long: four weeks, and the day that is compared with."""

EVERY = timedelta(seconds=30)
"""How often plugins are asked."""

ANEW = timedelta(hours=1)
"""How often all is read again, because another controller may have led meanwhile."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """That a version is to be awake though nobody calls it."""

    since: datetime
    """Since when it is so without a break."""
    why: str
    plugin: str


def slot_of(moment: datetime) -> datetime:
    """Return when the slot began that a moment lies in."""
    since = moment - datetime.fromtimestamp(0, UTC)
    return moment - since % SLOT


class Foresight:
    """Remembers who was called when, and asks plugins whose calls are expected.

    Args:
        registry: what remembers; where it does not, nothing is expected of anybody.
        hooks: the plugins.
    """

    def __init__(self, registry: Registry, hooks: Hooks) -> None:
        self._registry = registry
        self._hooks = hooks
        self._takes = WakeTimes(registry)
        self._calls: dict[VersionKey, list[datetime]] = {}
        self._expected: dict[VersionKey, Expectation] = {}
        self._read_at: datetime | None = None
        self._asked_at: datetime | None = None

    def of(self, key: VersionKey) -> Expectation | None:
        """Return why calls of a version are expected; None if they are not."""
        return self._expected.get(key)

    async def look(
        self, models: Iterable[Model], loads: Mapping[VersionKey, Load], now: datetime
    ) -> None:
        """Remember who was called, and ask anew; does nothing most of the time.

        Args:
            models: what SQL tells.
            loads: what routers tell.
            now: the time of day.
        """
        registry: object = self._registry
        if not self._hooks.implemented(HOOK) or not isinstance(registry, RemembersCalls):
            return
        if self._asked_at and timedelta() <= now - self._asked_at < EVERY:
            return
        self._asked_at = now
        versions = {
            record.version.key: record.version
            for model in models
            for record in model.versions
            if not record.version.spec.scaling.min and record.wish is not Wish.COLLECT
        }
        try:
            if self._read_at is None or not timedelta() <= now - self._read_at < ANEW:
                found = await registry.calls(now - KEPT)
                self._calls = {key: list(slots) for key, slots in found.items()}
                self._read_at = now
            await self._takes.read(versions)
            fresh = self._news(versions, loads, now)
            if fresh:
                await registry.add_calls(fresh, now - KEPT)
        except Unavailable as error:
            # What is expected already stays so; the next look reads and writes again.
            self._read_at = None
            log.warning("the registry does not answer: %s", error.message)
            return
        await self._ask(versions, now)

    def _news(
        self, versions: Iterable[VersionKey], loads: Mapping[VersionKey, Load], now: datetime
    ) -> dict[VersionKey, datetime]:
        """Remember in which slots versions were called last; return what was not known."""
        fresh = {}
        for key in versions:
            load = loads.get(key)
            if load is None or load.last_request_at is None:
                continue
            slot, known = slot_of(load.last_request_at), self._calls.setdefault(key, [])
            if now - KEPT < slot <= now and slot not in known[-2:]:
                fresh[key] = slot
                bisect.insort(known, slot)
        return fresh

    async def _ask(self, versions: Mapping[VersionKey, Version], now: datetime) -> None:
        before, self._expected = self._expected, {}
        for key, version in versions.items():
            if not (calls := self._calls.get(key)):
                continue
            # Asked for the moment at which a wake that begins before the next look is over.
            at = now + EVERY + timedelta(seconds=self._takes.expected(key) or 0)
            answer = await self._hooks.first(HOOK, version=version, calls=tuple(calls), at=at)
            if answer:
                known = before.get(key)
                since = known.since if known else now
                self._expected[key] = Expectation(since, str(answer.value), answer.plugin)
