"""What is done to the containers of one version, so that exactly those run that should.

Whoever calls sees to it that nothing else is done to the same version meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from longshore.core.names import VersionKey
from longshore.core.types import Progress, Workload
from longshore.plugins.engine.containers import Listed
from longshore.plugins.engine.pull import Puller
from longshore.plugins.engine.replicas import Replicas
from longshore.plugins.engine.resting import freeze_one, to_discard, to_rouse
from longshore.plugins.engine.starting import Starter
from longshore.plugins.engine.steps import all_of, to_the_end
from longshore.plugins.engine.wire import EngineError

log = logging.getLogger(__name__)

REMOVED_AT_ONCE = 32

Report = Callable[[Progress | None], None]
"""Told how far a pull has come, and with None that it has ended."""


class Applier:
    """Starts, keeps, freezes and removes the containers of versions.

    Args:
        replicas: all containers of the installation.
        puller: gets images.
        starter: starts containers.
    """

    def __init__(self, replicas: Replicas, puller: Puller, starter: Starter) -> None:
        self._replicas = replicas
        self._puller = puller
        self._starter = starter
        self._removals = asyncio.Semaphore(REMOVED_AT_ONCE)

    async def apply(self, workload: Workload, report: Report) -> None:
        """Keep what is right; pull; remove what is wrong or too many; start what is missing.

        Nothing is removed before the image is there, so that what runs goes on while it is pulled.
        """
        mine = await self._replicas.listed(workload.key)
        right = [
            each
            for each in mine
            if each.lives and not each.kept and each.fingerprint == workload.fingerprint
        ]
        stay = self._replicas.best_first(right, workload.retire)[: workload.replicas]
        missing = workload.replicas - len(stay)
        rouse = to_rouse(mine, workload.fingerprint)[:missing]
        missing -= len(rouse)
        if missing:
            await self._pull(workload, report)
        await self.remove([each for each in mine if each not in [*stay, *rouse]])
        start = partial(self._starter.start, workload)
        steps = [partial(self._rouse, workload, each, report) for each in rouse]
        await all_of(to_the_end(step) for step in [*steps, *[start] * missing])

    async def replace(self, container: str, workload: Workload) -> None:
        """Start a container in the place of another, given by its id.

        If that is gone, return silently: whoever removed it knew what is to run instead.
        """
        corpse = [
            each for each in await self._replicas.listed(workload.key) if each.id == container
        ]
        if corpse:
            await self.remove(corpse)
            await to_the_end(partial(self._starter.start, workload))

    async def rest(self, key: VersionKey) -> None:
        """Remove the containers of a version, but for one that is frozen, if one is worth it."""
        await to_the_end(partial(self._rest, key))

    async def discard(self, key: VersionKey, *, freezes: bool) -> None:
        """Remove what is kept of a version in vain; see ``resting.to_discard``."""
        kept = [each for each in await self._replicas.listed(key) if each.kept]
        await self.remove(to_discard(kept, freezes=freezes))

    async def remove(self, listed: Sequence[Listed]) -> None:
        """Stop and remove containers; those that are gone are passed over."""

        async def remove(each: Listed) -> None:
            async with self._removals:
                await self._replicas.remove(each)

        await all_of(remove(each) for each in listed)

    async def _pull(self, workload: Workload, report: Report) -> None:
        await self._puller.pull(workload.image, report)
        report(None)

    async def _rest(self, key: VersionKey) -> None:
        kept = await freeze_one(self._replicas, await self._replicas.listed(key))
        mine = await self._replicas.listed(key)
        await self.remove([each for each in mine if kept is None or each.id != kept.id])

    async def _rouse(self, workload: Workload, kept: Listed, report: Report) -> None:
        try:
            await self._replicas.rouse(kept)
        except EngineError as error:
            log.warning("%s cannot go on, another one is started: %s", kept.name, error.message)
            await self._replicas.remove(kept)
            await self._pull(workload, report)
            await self._starter.start(workload)
