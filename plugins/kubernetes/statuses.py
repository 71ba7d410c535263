"""From a Deployment and its pods to what the controller reads. Pure."""

from collections.abc import Sequence
from typing import Protocol

from longshore.core.names import VersionKey
from longshore.core.types import WorkloadStatus
from longshore.plugins.kubernetes.kinds import Json
from longshore.plugins.kubernetes.labels import FINGERPRINT, MODEL, VERSION
from longshore.plugins.kubernetes.reasons import shortage
from longshore.plugins.kubernetes.replicas import Pod

NO_METRICS = (
    "scaled by Longshore itself, because the cluster does not serve the metrics that its "
    "autoscaler would go by"
)


class Applied(Protocol):
    """Who knows what was applied, and how versions are scaled."""

    def drift(self, deployment: Json) -> str:
        """Return where the cluster has something else than was applied; empty where it has not."""

    def is_autoscaled(self, name: str) -> bool:
        """Return whether a HorizontalPodAutoscaler sets the number of replicas."""

    def lacks_metrics(self, name: str) -> bool:
        """Return whether one would, if the cluster served metrics."""


def key_of(deployment: Json) -> VersionKey | None:
    """Return which version a Deployment is of; None where its annotations do not say."""
    annotations = deployment["metadata"].get("annotations") or {}
    try:
        return VersionKey.parse(f"{annotations[MODEL]}:{annotations[VERSION]}")
    except (KeyError, ValueError):
        return None


def status_of(deployment: Json, pods: Sequence[Pod], applied: Applied) -> WorkloadStatus:
    """Return what there is of a version.

    Args:
        deployment: of the version; ``key_of`` knows of which.
        pods: of the version, oldest first.
        applied: who knows what was applied.
    """
    key = key_of(deployment)
    assert key is not None  # noqa: S101 - the caller looked
    name = deployment["metadata"]["name"]
    fingerprint = (deployment["metadata"].get("annotations") or {}).get(FINGERPRINT, "")
    wished = deployment["spec"].get("replicas", 1)
    drift = applied.drift(deployment)
    updated = (deployment.get("status") or {}).get("updatedReplicas", 0)
    problem = shortage(deployment) if min(len(pods), updated) < wished else None
    return WorkloadStatus(
        key=key,
        # What somebody changed by hand must look like nobody's wish.
        fingerprint=f"{fingerprint} but for {drift}" if drift else fingerprint,
        replicas=tuple(each.replica for each in pods),
        autoscaled_to=wished if applied.is_autoscaled(name) else None,
        problem=problem.message if problem else "",
        hint=problem.hint if problem else "",
        note=NO_METRICS if applied.lacks_metrics(name) else "",
    )
