"""Writing one object of a version, and what may be in its way."""

import asyncio
import logging
import time

from longshore.core.errors import WorkloadFailed
from longshore.plugins.kubernetes.client import ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import CLAIM_TEMPLATE, NAMESPACE, SECRET, Json, Kind
from longshore.plugins.kubernetes.labels import MANAGER
from longshore.plugins.kubernetes.strangers import found, whose
from longshore.plugins.kubernetes.wishes import correction, differences

log = logging.getLogger(__name__)

ASK_AGAIN = 1.0
"""Seconds between two tries while the namespace is being deleted."""

NAMESPACE_GOES = 10.0
"""Seconds that a namespace may take to go after the last of its pods."""

_NO_SUCH_NAMESPACE = 404
_EXISTS = 409
_IS_GOING = "because it is being terminated"


class Writer:
    """Writes and removes objects, and leaves those alone that are not ours.

    Args:
        cluster: where, and what it has.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._caches = cluster.caches
        self._own = cluster.settings

    async def refuse_strangers(self, kind: Kind, name: str) -> None:
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

    async def write(self, kind: Kind, manifest: Json) -> None:
        """Let the cluster have an object as a manifest says, in its namespace, made if need be."""
        if kind is CLAIM_TEMPLATE:
            await self._make_way(kind, manifest)
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

    async def drop(self, kind: Kind, name: str) -> None:
        """Remove what a version is made of no more; what was never looked at, is not there."""
        if kind is SECRET or (kind in self._caches and self._caches[kind].get(name)):
            await self._client.delete(kind, name)

    async def remove(self, kind: Kind, name: str) -> None:
        """Remove an object, whether or not the caches know it; if there is none, be silent."""
        # Of what could never be looked at, there is none.
        used = kind is SECRET or (kind in self._caches and self._caches[kind].synced.is_set())
        if used and await self._is_ours(kind, name):
            await self._client.delete(kind, name)

    async def _is_ours(self, kind: Kind, name: str) -> bool:
        """Return whether there may be such an object, and it is no stranger's."""
        cache = self._caches.get(kind)
        if cache is None or cache.get(name):
            return True
        # It may be so new that the cache has not heard of it.
        item = await found(self._client, kind, name)
        return item is not None and not whose(item, self._cluster.owner)

    async def _make_way(self, kind: Kind, manifest: Json) -> None:
        """Remove an object whose spec can never change, and is another one.

        Pods that are there keep the claims that were made from it.
        """
        name = manifest["metadata"]["name"]
        has = self._caches[kind].get(name)
        if has and next(differences(manifest["spec"], has["spec"]), None) is not None:
            await self._client.delete(kind, name)

    async def _apply_when_possible(self, kind: Kind, manifest: Json) -> Json:
        """Apply it, if need be once a namespace that is being deleted is gone.

        To count each refusal as a failure would put off the next try for longer and longer, and
        with it the end of the outage.
        """
        # It goes with the last of its pods, which answer what they have first.
        until = time.monotonic() + self._own.drain + self._own.stop_grace + NAMESPACE_GOES
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
