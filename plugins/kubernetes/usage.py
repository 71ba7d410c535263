"""What pods use, as the cluster's metrics API tells where somebody serves it (metrics-server).

It is what the kernel counts of a container without the cached files that it gives away first, as of
the last minute. Of GPUs it tells nothing.
"""

import math
from collections.abc import Mapping, Sequence

from longshore.core.errors import Unavailable
from longshore.core.measures import ReplicaUse
from longshore.core.names import VersionKey
from longshore.core.types import ReplicaState
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.kinds import POD_METRICS, Json
from longshore.plugins.kubernetes.labels import OWNER
from longshore.plugins.kubernetes.nodes import quantity
from longshore.plugins.kubernetes.pods import CONTAINER, GPU
from longshore.plugins.kubernetes.replicas import Pod

NO_GPU_MEMORY = "Kubernetes does not tell how much GPU memory a pod uses"
NO_METRICS = "the cluster does not serve metrics.k8s.io; metrics-server would"

_GONE = 404


def is_ready(pod: Pod) -> bool:
    """Return whether a pod takes requests."""
    return pod.replica.state is ReplicaState.READY


async def uses(
    client: Client, owner: str, pods: Mapping[VersionKey, Sequence[Json]]
) -> Mapping[VersionKey, Sequence[ReplicaUse]]:
    """Return what these pods use, or why that is not known; with one call for all of them.

    Args:
        client: the cluster's.
        owner: id of the installation, which all pods are labelled with.
        pods: by version.
    """
    if not pods:
        return {}
    found: dict[str, int] = {}
    why = ""
    try:
        answer = await client.get(client.path(POD_METRICS), {"labelSelector": f"{OWNER}={owner}"})
        found = in_metrics(answer)
    except ApiError as error:
        why = NO_METRICS if error.status == _GONE else f"metrics.k8s.io answers: {error.message}"
    except Unavailable as error:
        # Whoever serves it may be away while all else is well.
        why = f"metrics.k8s.io: {error.message}"
    return {key: [_use(each, found, why) for each in items] for key, items in pods.items()}


def in_metrics(answer: Json) -> dict[str, int]:
    """Return the MiB that the model's container in each pod uses, by the pod's name."""
    found = {}
    for item in answer.get("items") or ():
        for container in item.get("containers") or ():
            used = quantity(str((container.get("usage") or {}).get("memory", "")))
            if container.get("name") == CONTAINER and used:
                found[str(item["metadata"]["name"])] = math.ceil(used / 2**20)
    return found


def _use(pod: Json, found: Mapping[str, int], why: str) -> ReplicaUse:
    name = pod["metadata"]["name"]
    used = found.get(name)
    late = "metrics.k8s.io does not tell of it yet"
    return ReplicaUse(
        memory_mib=used,
        unread="" if used is not None else why or late,
        gpus_unread=NO_GPU_MEMORY if _has_gpus(pod) else "",
    )


def _has_gpus(pod: Json) -> bool:
    """Return whether a pod was given GPUs, counted or claimed."""
    if pod["spec"].get("resourceClaims"):
        return True
    limits = [each.get("resources", {}).get("limits") or {} for each in pod["spec"]["containers"]]
    return any(GPU in each for each in limits)
