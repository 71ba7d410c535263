"""Doing what ``prepull`` plans: level-triggered, so that whatever a crash left is found again."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from longshore.core.errors import Unavailable, WorkloadFailed
from longshore.core.types import Workload, utc_now
from longshore.plugins.kubernetes.client import ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import NODE, POD, SECRET, Json
from longshore.plugins.kubernetes.prepull import (
    Ended,
    Pull,
    Seen,
    Target,
    Tried,
    is_pull,
    login_of,
    plan,
    pull_pod,
)
from longshore.plugins.kubernetes.wanted import Wanted

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at pulls that are under way."""

NODES_EVERY = 60.0
"""Seconds between two looks at nodes, whose lists of images are long."""

AT_ONCE: Json = {"gracePeriodSeconds": 1}

_EXISTS = 409


class Puller:
    """Brings images to nodes before their versions need them.

    Args:
        cluster: where, and what it has.
        leads: returns whether this process may act.
        now: the time of day (UTC).
    """

    def __init__(
        self,
        cluster: Cluster,
        leads: Callable[[], bool],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._leads = leads
        self._now = now
        self._expected: Sequence[Wanted] | None = None
        """None until somebody said."""
        self._images: frozenset[str] = frozenset()
        self._tried: dict[Target, Tried] = {}
        self._nodes: Sequence[Json] = ()
        self._nodes_at = -NODES_EVERY

    def expect(self, workloads: Iterable[Workload]) -> None:
        """Learn which versions may run, instead of all that were told before."""
        cluster = self._cluster
        self._expected = [
            Wanted(
                owner=cluster.owner,
                workload=workload,
                settings=cluster.settings,
                login=cluster.login_for(workload.image),
            )
            for workload in workloads
        ]
        images = frozenset(each.workload.image for each in self._expected)
        if images - self._images:
            self._nodes_at = -NODES_EVERY
        self._images = images

    async def run(self) -> None:
        """Pull, and clear up after pulls, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._expected is None or not self._leads():
                continue
            try:
                await self.once()
            except (ApiError, Unavailable) as error:
                log.warning("images are not pulled ahead now: %s", error.message)
                await asyncio.sleep(NODES_EVERY / 2)
            except Exception:
                # What goes wrong here must never be a version's fault.
                log.exception("images are not pulled ahead")
                await asyncio.sleep(NODES_EVERY / 2)

    async def once(self) -> None:
        """Take the next step of every pull."""
        count, pods = self._cluster.settings.prepull, list(self._cluster.caches[POD].all())
        if count and time.monotonic() - self._nodes_at > NODES_EVERY:
            self._nodes = (await self._client.get(self._client.path(NODE)))["items"]
            self._nodes_at = time.monotonic()
        seen = Seen(pods, self._nodes, self._tried)
        step = plan(self._expected or (), seen, self._now(), count=count)
        for ended in step.ended:
            await self._client.delete(POD, ended.pod, AT_ONCE)
            self._remember(ended)
        for name in step.unwanted:
            await self._client.delete(POD, name, AT_ONCE)
        for pull in step.begin:
            await self._begin(pull)
        self._tried = {each: was for each, was in self._tried.items() if each[1] in self._images}

    async def remove_all(self) -> None:
        """Remove all pulls, whatever has become of them."""
        for each in list(self._cluster.caches[POD].all()):
            if is_pull(each):
                await self._client.delete(POD, each["metadata"]["name"], AT_ONCE)

    async def _begin(self, pull: Pull) -> None:
        try:
            made = await self._client.create(POD, pull_pod(pull))
        except (ApiError, WorkloadFailed) as error:
            # A quota, a webhook: the version is no worse off than without this.
            if getattr(error, "status", 0) != _EXISTS:
                self._remember(Ended(pull.name, pull.target, error.message))
            return
        if secret := login_of(pull, made["metadata"]["uid"]):
            await self._client.apply(SECRET, secret)
            path = self._client.path(POD, pull.name)
            await self._client.patch(path, {"spec": {"schedulingGates": None}})

    def _remember(self, ended: Ended) -> None:
        now, (node, image) = self._now(), ended.target
        was = self._tried.get(ended.target, Tried(now))
        if now < was.not_before:
            # Known; the cache has not heard yet that its pod was removed.
            return
        tried = self._tried[ended.target] = was.next_after(ended.problem, now)
        if ended.problem:
            wait = (tried.not_before - now).total_seconds()
            log.warning(
                "%s could not be pulled ahead on node %s: %s; tried again in %.0f s",
                image,
                node,
                ended.problem,
                wait,
            )
        else:
            log.info("%s is on node %s", image, node)
