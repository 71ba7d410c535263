"""Making the cluster have what a version is made of, and noticing when it has not."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from longshore.core.backends.writable import AS_REGISTERED, NEEDS_WRITABLE_ROOT
from longshore.core.types import ReplicaState, Workload
from longshore.plugins.kubernetes.allocation import refuse_without_claims
from longshore.plugins.kubernetes.autoscaling import Autoscaling
from longshore.plugins.kubernetes.client import SCALE_MANAGER, ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import DEPLOYMENT, NODE, OURS, POD, Json
from longshore.plugins.kubernetes.labels import FINGERPRINT, NODES, WRITABLE_ROOT, object_name
from longshore.plugins.kubernetes.manifests import manifests
from longshore.plugins.kubernetes.replicas import Pod, Replicas
from longshore.plugins.kubernetes.wanted import Wanted
from longshore.plugins.kubernetes.wishes import Wish, differences
from longshore.plugins.kubernetes.writing import Writer

log = logging.getLogger(__name__)

STOP_GRACE = 5
"""Seconds that pods get to stop whose requests have all been answered."""

SETTLE_WITHIN = 10.0
"""Seconds that the cluster gets to make or remove pods, before a later look has to do."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
FIRST_TO_GO = "-1000"


class Applier:
    """Applies the objects of versions.

    Args:
        cluster: where, and what it has.
        replicas: our pods.
        autoscaling: who sets their number.
    """

    def __init__(self, cluster: Cluster, replicas: Replicas, autoscaling: Autoscaling) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._caches = cluster.caches
        self._replicas = replicas
        self._autoscaling = autoscaling
        self._writer = Writer(cluster)
        self._own = cluster.settings
        self._wishes: dict[str, Wish] = {}
        self._needs_writable_root: set[str] = set()
        """Fingerprints."""

    async def apply(self, workload: Workload) -> None:
        """Make it so; return when the cluster has the objects and, mostly, the pods."""
        wanted = await self._wanted(workload)
        name, wish = wanted.name, manifests(wanted)
        if not workload.replicas and not wanted.autoscaled and not self._deployment(name):
            return
        if wanted.claims_gpus:
            await refuse_without_claims(self._client)
        for kind in wish:
            await self._writer.refuse_strangers(kind, name)
        for kind in OURS:
            if kind in wish:
                await self._writer.write(kind, wish[kind])
            else:
                await self._writer.drop(kind, name)
        self._wishes[name] = Wish(workload, wish, wanted.autoscaled)
        await self._replace_the_dead(name)
        if not wanted.autoscaled:
            await self._scale(name, workload)
        await self._settled(name, workload, exactly=not wanted.autoscaled)

    async def remove(self, name: str) -> None:
        """Remove all objects of a version; its pods get moments to stop."""
        # The Deployment last: as long as it is there, whatever is left of the version is seen.
        for kind in sorted(OURS, key=lambda kind: kind is DEPLOYMENT):
            await self._writer.remove(kind, name)
        self._wishes.pop(name, None)
        pods = self._replicas.by_workload().get(name, ())
        # Their requests have been answered; what they would wait for has happened.
        options: Json = {"gracePeriodSeconds": STOP_GRACE}
        await asyncio.gather(*(self._client.delete(POD, each.name, options) for each in pods))
        await self._until_gone(name)

    def drift(self, deployment: Json) -> str:
        """Return where the cluster has something else than was applied; empty where it has not.

        What this process has not applied yet counts as different, and is applied once: where
        nothing differs, that changes nothing.
        """
        name = deployment["metadata"]["name"]
        wish = self._wishes.get(name)
        if wish is None:
            return "what an earlier Longshore applied"
        if wish.autoscaled != self._autoscaling.may_scale(name, wish.workload):
            return "who scales it"
        for kind, manifest in wish.manifests.items():
            cache = self._caches.get(kind)
            if cache is None or cache.problem:
                continue
            has = cache.get(name)
            where = next(differences(manifest, has), None) if has else ""
            if where is not None:
                return f"{kind.name}{where}"
        return ""

    def is_autoscaled(self, name: str) -> bool:
        """Return whether a HorizontalPodAutoscaler sets the number of replicas."""
        return self._autoscaling.scales(name)

    def lacks_metrics(self, name: str) -> bool:
        """Return whether one would, if the cluster served metrics."""
        wish = self._wishes.get(name)
        return wish is not None and self._autoscaling.lacks_metrics(name, wish.workload)

    def revivable(self, pods: Mapping[str, Sequence[Pod]]) -> list[Workload]:
        """Return what is to be applied again, because it fails for want of a writable root."""
        found = []
        for name, mine in pods.items():
            wish = self._wishes.get(name)
            if wish is None or not any(each.needs_writable_root for each in mine):
                continue
            if wish.workload.fingerprint not in self._needs_writable_root:
                log.warning("%s: starting it again with a writable root file system", name)
                self._needs_writable_root.add(wish.workload.fingerprint)
                found.append(wish.workload)
        return found

    # --- what is wanted -----------------------------------------------------------------------

    async def _wanted(self, workload: Workload) -> Wanted:
        name = object_name(self._cluster.owner, workload.key)
        has = self._deployment(name)
        notes = ((has or {}).get("metadata") or {}).get("annotations") or {}
        same = notes.get(FINGERPRINT) == workload.fingerprint
        # Decided when it was made, or a node that comes or goes would restart its pods.
        if same:
            nodes = tuple(filter(None, notes.get(NODES, "").split(",")))
        else:
            nodes = await self._nodes(workload)
        writable = AS_REGISTERED if workload.writable_root else ""
        if workload.fingerprint in self._needs_writable_root or (
            same and notes.get(WRITABLE_ROOT) == NEEDS_WRITABLE_ROOT
        ):
            writable = writable or NEEDS_WRITABLE_ROOT
        return Wanted(
            owner=self._cluster.owner,
            workload=workload,
            settings=self._own,
            login=self._cluster.login_for(workload.image),
            autoscaled=self._autoscaling.may_scale(name, workload),
            nodes=nodes,
            writable_because=writable,
        )

    async def _nodes(self, workload: Workload) -> tuple[str, ...]:
        """Return the nodes that it must be kept to; none where all will do.

        All will do, too, where the cluster has none of those that placement chose: it is another
        cluster then, and where it came from has no say in it.
        """
        try:
            answer = await self._client.get(self._client.path(NODE))
        except ApiError:
            # Not allowed to look; the scheduler finds out.
            return ()
        there = {each["metadata"]["name"] for each in answer["items"]}
        chosen = there.intersection(workload.nodes)
        return () if chosen == there else tuple(sorted(chosen))

    def _deployment(self, name: str) -> Json | None:
        return self._caches[DEPLOYMENT].get(name)

    # --- doing it -----------------------------------------------------------------------------

    async def _replace_the_dead(self, name: str) -> None:
        """Remove pods whose container ended and waits to be started again; others follow them."""
        dead = [
            each
            for each in self._replicas.by_workload().get(name, ())
            if each.replica.state is ReplicaState.EXITED
        ]
        for each in dead:
            await self._client.delete(POD, each.name, {"gracePeriodSeconds": 1})
        gone = {each.item["metadata"]["uid"] for each in dead}

        def cleared() -> bool:
            pods = self._caches[POD].all()
            return not any(
                each["metadata"]["uid"] in gone and not each["metadata"].get("deletionTimestamp")
                for each in pods
            )

        await self._until(cleared)

    async def _scale(self, name: str, workload: Workload) -> None:
        """Set the number of replicas, by a request of its own, and choose who goes."""
        path = self._client.path(DEPLOYMENT, name, "scale")
        has = (await self._client.get(path))["spec"].get("replicas", 0)
        if has == workload.replicas:
            return
        pods = self._replicas.by_workload().get(name, ())
        if workload.replicas < len(pods):
            await self._mark(pods, workload)
        await self._client.patch(path, {"spec": {"replicas": workload.replicas}}, SCALE_MANAGER)

    async def _mark(self, pods: Sequence[Pod], workload: Workload) -> None:
        """Tell the cluster which pods are to go first; those that stay are told, too."""

        def worth(each: Pod) -> tuple[bool, bool]:
            ready = each.replica.state is ReplicaState.READY
            return each.name in workload.retire, not ready

        # sorted() keeps the oldest, which are warm, in front.
        best_first = sorted(pods, key=worth)
        for number, each in enumerate(best_first):
            cost = None if number < workload.replicas else FIRST_TO_GO
            if each.annotations.get(DELETION_COST) != cost:
                change = {"metadata": {"annotations": {DELETION_COST: cost}}}
                await self._client.patch(self._client.path(POD, each.name), change)

    async def _settled(self, name: str, workload: Workload, *, exactly: bool) -> None:
        """Wait until the caches show what the cluster makes of it, so that nobody asks again."""

        def settled() -> bool:
            has = self._deployment(name)
            wish = self._wishes.get(name)
            if has is None or wish is None:
                return False
            status = has.get("status") or {}
            if next(differences(wish.manifests[DEPLOYMENT], has), None):
                return False
            if status.get("observedGeneration", 0) < has["metadata"]["generation"]:
                return False
            if not exactly:
                return True
            if has["spec"].get("replicas", 1) != workload.replicas:
                return False
            count = len(self._replicas.by_workload().get(name, ()))
            conditions = status.get("conditions") or ()
            failing = any(each["type"] == "ReplicaFailure" for each in conditions)
            rolling = status.get("updatedReplicas", 0) != status.get("replicas", 0)
            return count == workload.replicas or failing or (rolling and count > workload.replicas)

        await self._until(settled)

    async def _until_gone(self, name: str) -> None:
        """Wait until the caches have nothing of a version any more but pods that are stopping."""
        await self._until(
            lambda: not self._deployment(name) and not self._replicas.by_workload().get(name)
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(SETTLE_WITHIN):
                async for _ in self._cluster.hints.listen(now=True):
                    if condition():
                        return
        except TimeoutError:
            log.debug("the cluster takes its time")
