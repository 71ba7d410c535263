"""The kinds of objects that the plugin deals with, and where the API has them."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
"""An object, or a part of one, as the API writes it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    name: str
    api: str
    """``api/v1``, or ``apis/GROUP/VERSION``."""
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What manifests of it begin with."""
        return self.api.partition("/")[2]


DEPLOYMENT = Kind("Deployment", "apis/apps/v1", "deployments")
SERVICE = Kind("Service", "api/v1", "services")
SECRET = Kind("Secret", "api/v1", "secrets")
POD = Kind("Pod", "api/v1", "pods")
LEASE = Kind("Lease", "apis/coordination.k8s.io/v1", "leases")
EVENT = Kind("Event", "api/v1", "events")
NODE = Kind("Node", "api/v1", "nodes", namespaced=False)
NAMESPACE = Kind("Namespace", "api/v1", "namespaces", namespaced=False)
SLICE = Kind("EndpointSlice", "apis/discovery.k8s.io/v1", "endpointslices")
AUTOSCALER = Kind("HorizontalPodAutoscaler", "apis/autoscaling/v2", "horizontalpodautoscalers")
BUDGET = Kind("PodDisruptionBudget", "apis/policy/v1", "poddisruptionbudgets")
POLICY = Kind("NetworkPolicy", "apis/networking.k8s.io/v1", "networkpolicies")
CLAIM_TEMPLATE = Kind("ResourceClaimTemplate", "apis/resource.k8s.io/v1", "resourceclaimtemplates")
DEVICE_CLASS = Kind("DeviceClass", "apis/resource.k8s.io/v1", "deviceclasses", namespaced=False)
DEVICE_SLICE = Kind("ResourceSlice", "apis/resource.k8s.io/v1", "resourceslices", namespaced=False)

POD_METRICS = Kind("PodMetrics", "apis/metrics.k8s.io/v1beta1", "pods")

OURS = (SECRET, POLICY, SERVICE, BUDGET, CLAIM_TEMPLATE, DEPLOYMENT, AUTOSCALER)
"""What one version may be made of, in the order in which it is applied."""
