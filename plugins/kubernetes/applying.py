"""Making the cluster have what a version is made of, and noticing when it has not."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from longshore.core.errors import Unavailable, WorkloadFailed
from longshore.core.types import ReplicaState, Workload
from longshore.plugins.kubernetes.allocation import refuse_without_claims
from longshore.plugins.kubernetes.client import SCALE_MANAGER, ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import (
    AUTOSCALER,
    CLAIM_TEMPLATE,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    OURS,
    POD,
    SECRET,
    Json,
    Kind,
)
from longshore.plugins.kubernetes.labels import (
    FINGERPRINT,
    MANAGER,
    NODES,
    OWNER,
    WRITABLE_ROOT,
    object_name,
)
from longshore.plugins.kubernetes.manifests import METRIC, manifests
from longshore.plugins.kubernetes.metrics import API
from longshore.plugins.kubernetes.pods import AS_REGISTERED
from longshore.plugins.kubernetes.replicas import Pod, Replicas
from longshore.plugins.kubernetes.strangers import found, whose
from longshore.plugins.kubernetes.wanted import Wanted
from longshore.plugins.kubernetes.wishes import Wish, correction, differences

log = logging.getLogger(__name__)

NEEDS_WRITABLE_ROOT = (
    "runs with a writable root file system, because it failed with a read-only one"
)

SETTLE_WITHIN = 10.0
"""Seconds that the cluster gets to make or remove pods, before a later look has to do."""

LOOK_AT_METRICS = 15.0
"""Seconds between two looks at whether the cluster serves metrics."""

PATIENCE = 90.0
"""Seconds that metrics may be missing before an autoscaler is taken away."""

ASK_AGAIN = 1.0
"""Seconds between two tries while the namespace is being deleted."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
FIRST_TO_GO = "-1000"

_NO_SUCH_NAMESPACE = 404
_EXISTS = 409
_IS_GOING = "because it is being terminated"


class Applier:
    """Applies the objects of versions.

    Args:
        cluster: where, and what it has.
        replicas: our pods.
    """

    def __init__(self, cluster: Cluster, replicas: Replicas) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._caches = cluster.caches
        self._replicas = replicas
        self._own = cluster.settings
        self._wishes: dict[str, Wish] = {}
        self._needs_writable_root: set[str] = set()
        """Fingerprints."""
        self._metrics = False
        """Whether the cluster serves what autoscalers would go by."""
        self._metrics_missed = time.monotonic()
        """Since when it does not, as far as is known."""

    async def apply(self, workload: Workload) -> None:
        """Make it so; return when the cluster has the objects and, mostly, the pods."""
        wanted = await self._wanted(workload)
        name, wish = wanted.name, manifests(wanted)
        if not workload.replicas and not wanted.autoscaled and not self._deployment(name):
            return
        if wanted.claims_gpus:
            await refuse_without_claims(self._client)
        for kind in wish:
            await self._refuse_strangers(kind, name)
        for kind in OURS:
            if kind in wish:
                if kind is CLAIM_TEMPLATE:
                    await self._make_way(kind, wish[kind])
                await self._apply(kind, wish[kind])
            elif kind is SECRET or (kind in self._caches and self._caches[kind].get(name)):
                await self._client.delete(kind, name)
        self._wishes[name] = Wish(workload, wish, wanted.autoscaled)
        await self._replace_the_dead(name)
        if not wanted.autoscaled:
            await self._scale(name, workload)
        await self._settled(name, workload, exactly=not wanted.autoscaled)

    def forget(self, name: str) -> None:
        """Let go of a version that is removed."""
        self._wishes.pop(name, None)

    def drift(self, deployment: Json) -> str:
        """Return where the cluster has something else than was applied; empty where it has not.

        What this process has not applied yet counts as different, and is applied once: where
        nothing differs, that changes nothing.
        """
        name = deployment["metadata"]["name"]
        wish = self._wishes.get(name)
        if wish is None:
            return "what an earlier Longshore applied"
        if wish.autoscaled != self._may_autoscale(name, wish.workload):
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
        return self._caches[AUTOSCALER].get(name) is not None

    def lacks_metrics(self, name: str) -> bool:
        """Return whether one would, if the cluster served metrics."""
        wish = self._wishes.get(name)
        return (
            wish is not None
            and wish.workload.scaling.max > 1
            and not self._may_autoscale(name, wish.workload)
        )

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

    async def follow_metrics(self) -> None:
        """Find out again and again whether the cluster serves metrics."""
        while True:
            before = self._metrics
            try:
                await self._ask_for_metrics()
                self._metrics = True
            except ApiError:
                if self._metrics:
                    self._metrics_missed = time.monotonic()
                self._metrics = False
            except Unavailable:
                # Also what an aggregated API says whose server is away: leave all as it is.
                pass
            if self._metrics != before:
                log.info("metrics for autoscalers: %s", "served" if self._metrics else "none")
                self._cluster.hints.tell()
            await asyncio.sleep(LOOK_AT_METRICS)

    async def _ask_for_metrics(self) -> None:
        """Ask for what autoscalers would go by.

        Raises:
            ApiError: the cluster does not serve it.
        """
        if self._own.autoscale_on == "cpu":
            await self._client.get("/apis/metrics.k8s.io/v1beta1")
            return
        # Asked for what is ours: the cluster's one external metrics API may be somebody else's.
        await self._client.get(
            f"{API}/namespaces/{self._own.namespace}/{METRIC}",
            {"labelSelector": f"{OWNER}={self._cluster.owner}"},
        )

    # --- what is wanted -----------------------------------------------------------------------

    async def _wanted(self, workload: Workload) -> Wanted:
        name = object_name(self._cluster.owner, workload.key)
        wanted = Wanted(
            owner=self._cluster.owner,
            workload=workload,
            settings=self._own,
            login=self._cluster.logins.get(workload.image.partition("/")[0]),
            autoscaled=self._may_autoscale(name, workload),
        )
        has = self._deployment(wanted.name)
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
            owner=wanted.owner,
            workload=workload,
            settings=wanted.settings,
            login=wanted.login,
            autoscaled=wanted.autoscaled,
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

    def _may_autoscale(self, name: str, workload: Workload) -> bool:
        if workload.scaling.max == 1 or self._metrics:
            return workload.scaling.max > 1
        # After a start of ours the metrics are away for moments: they are served by ourselves. To
        # take the number of replicas over for so long would throw away what the autoscaler knows.
        return self.is_autoscaled(name) and time.monotonic() - self._metrics_missed < PATIENCE

    def _deployment(self, name: str) -> Json | None:
        return self._caches[DEPLOYMENT].get(name)

    # --- doing it -----------------------------------------------------------------------------

    async def _refuse_strangers(self, kind: Kind, name: str) -> None:
        """Look whether a name is free that the caches do not know.

        Raises:
            WorkloadFailed: it is taken.
        """
        if kind not in self._caches or self._caches[kind].get(name):
            return
        item = await found(self._client, kind, name)
        if item and (other := whose(item, self._cluster.owner)):
            raise WorkloadFailed(
                f"the namespace {self._own.namespace} has a {kind.name} {name} that belongs to "
                f"{other}",
                hint="It is left alone. Remove it or give Longshore another namespace, then: "
                f"longshore wake NAME:VERSION. See it: kubectl get {kind.plural} {name}",
            )

    async def _make_way(self, kind: Kind, manifest: Json) -> None:
        """Remove an object whose spec can never change, and is another one.

        Pods that are there keep the claims that were made from it.
        """
        name = manifest["metadata"]["name"]
        has = self._caches[kind].get(name)
        if has and next(differences(manifest["spec"], has["spec"]), None) is not None:
            await self._client.delete(kind, name)

    async def _apply(self, kind: Kind, manifest: Json) -> None:
        try:
            made = await self._apply_when_possible(kind, manifest)
        except ApiError as error:
            if error.status != _NO_SUCH_NAMESPACE:
                raise
            await self._make_namespace()
            made = await self._client.apply(kind, manifest)
        if change := correction(manifest, made):
            name = manifest["metadata"]["name"]
            log.warning("%s %s was changed by hand; putting it right", kind.name, name)
            await self._client.patch(self._client.path(kind, name), change)

    async def _apply_when_possible(self, kind: Kind, manifest: Json) -> Json:
        """Apply it, if need be once a namespace that is being deleted is gone.

        To count each refusal as a failure would put off the next try for longer and longer, and
        with it the end of the outage.
        """
        # It goes with the last of its pods, which answer what they have first.
        until = time.monotonic() + self._own.drain + self._own.stop_grace + SETTLE_WITHIN
        while True:
            try:
                return await self._client.apply(kind, manifest)
            except ApiError as error:
                if _IS_GOING not in error.message or time.monotonic() > until:
                    raise
            await asyncio.sleep(ASK_AGAIN)

    async def _make_namespace(self) -> None:
        log.warning("making the namespace %s", self._own.namespace)
        standard = "pod-security.kubernetes.io/"
        labels = {
            "app.kubernetes.io/managed-by": MANAGER,
            # Told, not enforced: versions may have been given relaxations.
            f"{standard}warn": "restricted",
            f"{standard}audit": "restricted",
        }
        metadata = {"name": self._own.namespace, "labels": labels}
        manifest = {
            "apiVersion": NAMESPACE.api_version,
            "kind": NAMESPACE.name,
            "metadata": metadata,
        }
        try:
            await self._client.create(NAMESPACE, manifest)
        except ApiError as error:
            # Another version was quicker.
            if error.status != _EXISTS:
                raise

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

    async def until_gone(self, name: str) -> None:
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
