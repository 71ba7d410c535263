"""The collector: retires versions that nobody calls, and frees their images."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from longshore.core.background import beside, survived
from longshore.core.collection import Collection, deletable, is_needed, judge, unused
from longshore.core.errors import LongshoreError
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, FreesImages, Registry
from longshore.core.routes import RouteTable
from longshore.core.settings import Settings
from longshore.core.types import (
    Collected,
    Decision,
    Digest,
    Event,
    ImageFate,
    LeftImage,
    Load,
    Model,
    State,
    VersionRecord,
    Wish,
    utc_now,
)
from longshore.core.wishes import CORE, wished

log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between rounds."""

GOES_FROM_REGISTRY = "delete_collected is on, so its image is deleted from its registry, too"

NOBODY_NEEDS = "delete_collected is on, and every version that has it is collected"

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
                await self._retire()
                await self._free_as_they_go()

    async def plan(self) -> Collection:
        """Tell what a round would do now; nothing changes."""
        return await self._judged(await self._loads())

    async def collect(self) -> Collection:
        """Retire what is unused; the containers go within seconds, and then their images.

        Images that nobody needs go as well where no version is retired now: those of versions that
        were deleted, or that an engine which was away has kept.

        Returns:
            What was decided about each version.
        """
        found = await self._retire()
        self._due.set()
        return found

    async def _retire(self) -> Collection:
        loads, deletes = await self._loads(), self._settings.delete_collected
        found = await self._judged(loads)
        for verdict in found.going:
            load = loads.get(verdict.key, Load(key=verdict.key))
            image = ImageFate.GOES if deletes else ImageFate.STAYS
            collected = Collected(at=self._now(), why=verdict.why, image=image)
            await self._registry.collect(verdict.key, collected)
            why = verdict.why + (
                f"; {GOES_FROM_REGISTRY}" if verdict.key in found.without_image else ""
            )
            decision = wished(Wish.COLLECT.value, load, why, by=CORE, at=self._now())
            used = {"last_used": verdict.last_used.isoformat(), "delete_collected": deletes}
            decision = decision.model_copy(update={"inputs": {**used, **decision.inputs}})
            event = Event(kind="collected", key=verdict.key, message=why, at=self._now())
            await self._tell(decision, event)
        if found.going:
            self._kick()
        return found

    async def _tell(self, decision: Decision, event: Event) -> None:
        """Leave word of what was decided about a version, and tell everybody."""
        await self._registry.add_decisions(event.key, [decision])
        await self._registry.add_events([event])
        log.info("%s %s: %s", event.key, event.kind, event.message)
        await self._hooks.every("longshore_on_event", event=event)

    async def _judged(self, loads: Mapping[VersionKey, Load]) -> Collection:
        models = await self._registry.models()
        judged = judge(
            models,
            loads=loads,
            woken=await self._registry.last_wakes(),
            retention=self._settings.retention,
            now=self._now(),
            deletes=self._settings.delete_collected,
        )
        left = await self._left(models)
        frees = [each.reference for each in left if self._frees(each.backend)]
        return judged.model_copy(update={"left_images": tuple(frees)})

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
        """Free the images that no version needs, as far as no container has them.

        Returns:
            Whether some are left.
        """
        models = await self._registry.models()
        left = await self._free_left(models)
        for digest, records in unused(models).items():
            if digest in self._freed:
                continue
            if any(each.status.state is not State.COLLECTED for each in records):
                left = True
                continue
            # Of several, for each may be on a backend of its own.
            images = {
                (each.version.placement.backend, each.version.image.pinned) for each in records
            }
            if all([await self._free(*each) for each in sorted(images)]):
                self._freed.add(digest)
            else:
                left = True
        self._freed &= unused(models).keys()
        if self._settings.delete_collected:
            for digest, records in deletable(models).items():
                stopped = all(each.status.state is State.COLLECTED for each in records)
                if not (stopped and await self._delete(digest, records)):
                    left = True
        return left

    async def _left(self, models: Iterable[Model]) -> Sequence[LeftImage]:
        """Return what deleted versions left, and no other has."""
        needed = {
            each.version.image.digest
            for model in models
            for each in model.versions
            if each.wish is not Wish.COLLECT
        }
        left = await self._registry.left_images()
        return [
            each for each in left if each.digest not in needed and each.backend in self._backends
        ]

    async def _free_left(self, models: Iterable[Model]) -> bool:
        """Free what deleted versions left; return whether some is left."""
        left = False
        for image in await self._left(models):
            if await self._free(image.backend, image.reference):
                await self._registry.forget_image(image)
            else:
                left = True
        return left

    def _frees(self, name: str) -> FreesImages | None:
        """Return a backend that frees images."""
        backend: object = self._backends.get(name)
        return backend if isinstance(backend, FreesImages) else None

    async def _free(self, name: str, reference: str) -> bool:
        """Let a backend free an image; return whether there is nothing left to do."""
        backend = self._frees(name)
        try:
            return backend is None or await backend.free_image(reference)
        except LongshoreError as error:
            log.warning("the image %s stays for now: %s", reference, error.traced)
            return False

    async def _delete(self, digest: Digest, records: Sequence[VersionRecord]) -> bool:
        """Delete an image from its registry, and leave word of it with each version it was of.

        Returns:
            Whether nothing is left to do.
        """

        async def keep(image: ImageFate) -> None:
            await self._registry.keep_collected(
                {
                    each.version.key: each.collected.model_copy(update={"image": image})
                    for each in records
                    if each.collected
                }
            )

        # First, so that whoever wakes one of them from now on looks whether the image is there.
        await keep(ImageFate.DELETED)
        if is_needed(await self._registry.models(), digest) or not self._acts():
            await keep(ImageFate.GOES)  # one was woken before, another came, or another leads
            return True
        plugin = ""
        for image in {each.version.image.pinned: each.version.image for each in records}.values():
            try:
                answer = await self._hooks.first(
                    "longshore_delete_image", image=image, settings=self._settings
                )
            except LongshoreError as error:
                log.warning("%s stays in its registry for now: %s", image.pinned, error.traced)
                answer = None
            if answer is None:
                await keep(ImageFate.GOES)
                return False
            plugin = answer.plugin
        for each in records:
            reference, key = each.version.image.pinned, each.version.key
            decision = Decision(
                hook="longshore_delete_image",
                plugin=plugin,
                outcome="deleted",
                inputs={"image": reference, "delete_collected": True},
                why=NOBODY_NEEDS,
                at=self._now(),
            )
            told = f"{reference} was deleted from its registry: {NOBODY_NEEDS}"
            await self._tell(
                decision, Event(kind="image-deleted", key=key, message=told, at=self._now())
            )
        self._kick()
        return True
