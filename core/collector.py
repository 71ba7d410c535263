"""The collector: retires versions that nobody calls, and frees their images."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from longshore.core.background import beside, survived
from longshore.core.collection import Collection, judge, unused
from longshore.core.errors import LongshoreError
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, FreesImages, Registry
from longshore.core.routes import RouteTable
from longshore.core.settings import Settings
from longshore.core.types import Decision, Event, Load, State, VersionRecord, Wish, utc_now

log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between rounds."""

LOOKS = 120
LOOK_EVERY = 1.0
"""How often, and how many seconds apart, a round looks whether containers are gone whose images are
to be freed; what still is there then is left to the next one."""


class Collector:
    """Runs rounds of collection.

    Args:
        settings: the platform's.
        registry: what is registered; the wish in it is written here.
        backends: where images are freed, by name.
        hooks: told of each collection, and asked to delete images from their registries.
        table: knows who is called.
        kick: asks the controller for a pass soon.
        acts: whether this process may act now; one of several does.
        now: the clock; another one in tests.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        backends: Mapping[str, Backend],
        hooks: Hooks,
        table: RouteTable,
        *,
        kick: Callable[[], None],
        acts: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._backends = backends
        self._hooks = hooks
        self._table = table
        self._kick = kick
        self._acts = acts
        self._now = now
        self._due = asyncio.Event()
        self._freed: set[str] = set()
        """Digests that this process has freed already."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make rounds while the context is open."""
        async with beside({"collector": self._rounds()}):
            yield

    async def _rounds(self) -> None:
        while True:
            # Not at once: after a start, nobody has been called yet.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._due.wait()
            self._due.clear()
            if not self._acts():
                continue
            with survived(log, "collection failed"):
                await self.collect()
                await self._free_as_they_go()

    async def plan(self) -> Collection:
        """Tell what a round would do now; nothing changes."""
        return await self._judged(await self._loads())

    async def collect(self) -> Collection:
        """Retire what is unused; the containers go within seconds, and then their images.

        Returns:
            What was decided about each version.
        """
        loads = await self._loads()
        found = await self._judged(loads)
        for verdict in found.going:
            load = loads.get(verdict.key, Load(key=verdict.key))
            await self._registry.set_wish(verdict.key, Wish.COLLECT, verdict.why)
            seen = {"in_flight": load.in_flight, "rate": load.rate}
            decision = Decision(
                hook="collection",
                plugin="longshore",
                outcome="collect",
                inputs={"last_used": verdict.last_used.isoformat(), **seen},
                why=verdict.why,
                at=self._now(),
            )
            await self._registry.add_decisions(verdict.key, [decision])
            event = Event(kind="collected", key=verdict.key, message=verdict.why, at=self._now())
            await self._registry.add_events([event])
            log.info("%s %s: %s", event.key, event.kind, event.message)
            await self._hooks.every("longshore_on_event", event=event)
        if found.going:
            self._kick()
            self._due.set()
        return found

    async def _judged(self, loads: Mapping[VersionKey, Load]) -> Collection:
        return judge(
            await self._registry.models(),
            loads=loads,
            woken=await self._registry.last_wakes(),
            retention=self._settings.retention,
            now=self._now(),
        )

    async def _loads(self) -> Mapping[VersionKey, Load]:
        """Return what routers observe now, and of those that nobody called since, what they did."""
        earlier = await self._registry.loads()
        called = {load.key: load for load in self._table.loads() if load.last_request_at}
        return {**earlier, **called}

    async def _free_as_they_go(self) -> None:
        """Free the images of what was collected, each once its containers are gone."""
        for _ in range(LOOKS):
            if not await self.free():
                return
            await asyncio.sleep(LOOK_EVERY)

    async def free(self) -> bool:
        """Free the images that only collected versions have, as far as no container has them.

        Returns:
            Whether some are left.
        """
        left = False
        for digest, records in unused(await self._registry.models()).items():
            if digest in self._freed:
                continue
            if any(each.status.state is not State.COLLECTED for each in records):
                left = True
                continue
            # Of several, for each may be on a backend of its own.
            if all([await self._free(record) for record in records]):
                self._freed.add(digest)
            else:
                left = True
        return left

    async def _free(self, record: VersionRecord) -> bool:
        version = record.version
        backend: object = self._backends.get(version.placement.backend)
        try:
            if isinstance(backend, FreesImages):
                await backend.free_image(version.image.pinned)
            if self._settings.delete_collected:
                await self._hooks.first(
                    "longshore_delete_image", image=version.image, settings=self._settings
                )
        except LongshoreError as error:
            log.warning("the image of %s stays for now: %s", version.key, error.traced)
            return False
        return True
