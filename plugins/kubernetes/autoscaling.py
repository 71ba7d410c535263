"""Who sets the number of a version's replicas: the cluster, where it serves metrics to go by."""

import asyncio
import logging
import time

from longshore.core.errors import Unavailable
from longshore.core.types import Workload
from longshore.plugins.kubernetes.client import ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import AUTOSCALER
from longshore.plugins.kubernetes.labels import OWNER
from longshore.plugins.kubernetes.manifests import METRIC
from longshore.plugins.kubernetes.metrics import API

log = logging.getLogger(__name__)

LOOK_AT_METRICS = 15.0
"""Seconds between two looks at whether the cluster serves metrics."""

PATIENCE = 90.0
"""Seconds that metrics may be missing before an autoscaler is taken away."""


class Autoscaling:
    """Decides which versions get a HorizontalPodAutoscaler.

    Args:
        cluster: where, and what it has.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._served = False
        """Whether the cluster serves what autoscalers would go by."""
        self._missed = time.monotonic()
        """Since when it does not, as far as is known."""

    def may_scale(self, name: str, workload: Workload) -> bool:
        """Return whether a HorizontalPodAutoscaler is to set a version's number of replicas.

        Args:
            name: what the version's objects are called.
            workload: of the version.
        """
        if workload.scaling.max == 1 or self._served:
            return workload.scaling.max > 1
        # After a start of ours the metrics are away for moments: they are served by ourselves. To
        # take the number of replicas over for so long would throw away what the autoscaler knows.
        return self.scales(name) and time.monotonic() - self._missed < PATIENCE

    def scales(self, name: str) -> bool:
        """Return whether one does, as far as the cluster told."""
        return self._cluster.caches[AUTOSCALER].get(name) is not None

    def lacks_metrics(self, name: str, workload: Workload) -> bool:
        """Return whether one would, if the cluster served metrics."""
        return workload.scaling.max > 1 and not self.may_scale(name, workload)

    async def follow_metrics(self) -> None:
        """Find out again and again whether the cluster serves metrics."""
        while True:
            before = self._served
            try:
                await self._ask_for_metrics()
                self._served = True
            except ApiError:
                if self._served:
                    self._missed = time.monotonic()
                self._served = False
            except Unavailable:
                # Also what an aggregated API says whose server is away: leave all as it is.
                pass
            if self._served != before:
                log.info("metrics for autoscalers: %s", "served" if self._served else "none")
                self._cluster.hints.tell()
            await asyncio.sleep(LOOK_AT_METRICS)

    async def _ask_for_metrics(self) -> None:
        """Ask for what autoscalers would go by.

        Raises:
            ApiError: the cluster does not serve it.
        """
        client, own = self._cluster.client, self._cluster.settings
        if own.autoscale_on == "cpu":
            await client.get("/apis/metrics.k8s.io/v1beta1")
            return
        # Asked for what is ours: the cluster's one external metrics API may be somebody else's.
        await client.get(
            f"{API}/namespaces/{own.namespace}/{METRIC}",
            {"labelSelector": f"{OWNER}={self._cluster.owner}"},
        )
