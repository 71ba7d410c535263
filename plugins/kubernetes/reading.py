"""Where pods are, for a router: read from EndpointSlices alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from longshore.core.backends.hints import Hints
from longshore.core.names import VersionKey
from longshore.core.types import Endpoint, Version
from longshore.plugins.kubernetes.client import Client
from longshore.plugins.kubernetes.health import HealthChecks
from longshore.plugins.kubernetes.labels import WORKLOAD, object_name
from longshore.plugins.kubernetes.slices import Located, located
from longshore.plugins.kubernetes.watch import Cache

if TYPE_CHECKING:
    from longshore.plugins.kubernetes.kinds import Json


class Reading:
    """What a router knows of the cluster; it stays as it is while the API server is away.

    Args:
        owner: id of the installation.
        client: the cluster.
        slices: the EndpointSlices of the installation.
        hints: told when a container turned out healthy.
    """

    def __init__(self, owner: str, client: Client, slices: Cache, hints: Hints) -> None:
        self._owner = owner
        self._client = client
        self._slices = slices
        self._health = HealthChecks(hints.tell)

    async def close(self) -> None:
        """Let go of the cluster."""
        await self._health.close()
        await self._client.close()

    def endpoints(self, versions: Sequence[Version]) -> Mapping[VersionKey, tuple[Endpoint, ...]]:
        """Return the pods of each version that are ready for requests, by name."""
        by_workload: dict[str, list[Json]] = {}
        for each in self._slices.all():
            workload = each["metadata"]["labels"].get(WORKLOAD, "")
            by_workload.setdefault(workload, []).append(each)
        found = {
            version.key: (version, located(by_workload.get(name, ())))
            for version in versions
            if (name := object_name(self._owner, version.key))
        }
        self._health.keep({each.uid for _, pods in found.values() for each in pods})
        return {
            key: tuple(
                Endpoint(replica=each.name, address=each.address)
                for each in sorted(pods, key=lambda each: each.name)
                if self._is_healthy(version, each)
            )
            for key, (version, pods) in found.items()
        }

    def _is_healthy(self, version: Version, pod: Located) -> bool:
        """Return whether a pod may get requests, as ``health`` has it.

        A container that ends leaves the slices for a moment, and is asked anew when it is back.
        """
        serving = version.serving
        return serving.health_required or not self._health.fault_of(
            pod.uid, serving.health_path, pod.address
        )
