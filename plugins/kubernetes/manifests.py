"""One version as Kubernetes objects: pure functions of one ``Wanted``.

What is left out here is left to the cluster's defaults and to others: server-side apply makes us
the owner of what we say, and of nothing else. The number of replicas is never said, so that it
belongs to the autoscaler, or to a request of its own.
"""

import base64
import hashlib
import json
from collections.abc import Mapping

from longshore.plugins.kubernetes.claims import claim_spec
from longshore.plugins.kubernetes.kinds import (
    AUTOSCALER,
    BUDGET,
    CLAIM_TEMPLATE,
    DEPLOYMENT,
    POLICY,
    SECRET,
    SERVICE,
    Json,
    Kind,
)
from longshore.plugins.kubernetes.labels import (
    FINGERPRINT,
    MODEL,
    NODES,
    SPEC_HASH,
    VERSION,
    WRITABLE_ROOT,
    labels,
    selector,
)
from longshore.plugins.kubernetes.pods import PORT, pod_template, seconds
from longshore.plugins.kubernetes.wanted import Wanted

METRIC = "longshore_requests_in_flight"
"""What Longshore serves as external.metrics.k8s.io, and autoscalers go by."""


def manifests(wanted: Wanted) -> dict[Kind, Json]:
    """Return all objects of a version, in the order in which they are to be made."""
    found = {
        SECRET: pull_secret(wanted),
        POLICY: network_policy(wanted),
        SERVICE: service(wanted),
        BUDGET: disruption_budget(wanted),
        CLAIM_TEMPLATE: claim_template(wanted),
        DEPLOYMENT: deployment(wanted),
        AUTOSCALER: autoscaler(wanted),
    }
    return {kind: manifest for kind, manifest in found.items() if manifest is not None}


def deployment(wanted: Wanted) -> Json:
    """Return the Deployment, without a number of replicas."""
    workload = wanted.workload
    annotations = {
        MODEL: workload.key.name,
        VERSION: workload.key.version,
        FINGERPRINT: workload.fingerprint,
        NODES: ",".join(wanted.nodes),
        WRITABLE_ROOT: wanted.writable_because,
    }
    spec: Json = {
        "selector": {"matchLabels": selector(wanted.owner, wanted.name)},
        "revisionHistoryLimit": 1,
        # Whether it makes progress is told by its pods, in more words.
        "progressDeadlineSeconds": seconds(workload.startup, extra=60),
        "strategy": {
            "type": "RollingUpdate",
            # The new pod comes first; but a GPU that is free for it cannot be counted on.
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}
            if workload.gpu_count
            else {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": pod_template(wanted),
    }
    return _object(DEPLOYMENT, wanted, spec, annotations)


def service(wanted: Wanted) -> Json:
    """Return the Service, there only for its EndpointSlices: requests go to pod addresses."""
    spec = {
        "clusterIP": "None",
        "selector": selector(wanted.owner, wanted.name),
        "ports": [
            {"name": PORT, "port": wanted.workload.port, "protocol": "TCP", "targetPort": PORT}
        ],
    }
    return _object(SERVICE, wanted, spec)


def autoscaler(wanted: Wanted) -> Json | None:
    """Return the HorizontalPodAutoscaler, if there is to be one."""
    if not wanted.autoscaled:
        return None
    settings, scaling = wanted.settings, wanted.workload.scaling
    if settings.autoscale_on == "cpu":
        target = {"type": "Utilization", "averageUtilization": settings.cpu_utilisation}
        metric: Json = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    else:
        which = {
            "name": METRIC,
            "selector": {"matchLabels": selector(wanted.owner, wanted.name)},
        }
        target = {"type": "AverageValue", "averageValue": str(scaling.target)}
        metric = {"type": "External", "external": {"metric": which, "target": target}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.name},
        "minReplicas": max(scaling.min, 1),
        "maxReplicas": scaling.max,
        "metrics": [metric],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                ],
            },
            # Load that comes and goes does not flap.
            "scaleDown": {"stabilizationWindowSeconds": settings.scale_down_after},
        },
    }
    return _object(AUTOSCALER, wanted, spec)


def disruption_budget(wanted: Wanted) -> Json | None:
    """Return the PodDisruptionBudget of a version that may have several replicas.

    One pod at a time may be evicted, so that a node can always be drained.
    """
    if wanted.workload.scaling.max == 1:
        return None
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": selector(wanted.owner, wanted.name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object(BUDGET, wanted, spec)


def network_policy(wanted: Wanted) -> Json | None:
    """Return the NetworkPolicy that lets only routers reach the pods; None without routers."""
    settings = wanted.settings
    peers: list[Json] = [{"ipBlock": {"cidr": cidr}} for cidr in settings.router_networks]
    if settings.routers:
        peers.insert(0, {"podSelector": {"matchLabels": dict(settings.routers)}})
    if not peers:
        return None
    spec = {
        "podSelector": {"matchLabels": selector(wanted.owner, wanted.name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [{"port": PORT, "protocol": "TCP"}]}],
    }
    return _object(POLICY, wanted, spec)


def claim_template(wanted: Wanted) -> Json | None:
    """Return the ResourceClaimTemplate of a version whose pods claim their GPUs."""
    if not wanted.claims_gpus:
        return None
    return _object(CLAIM_TEMPLATE, wanted, claim_spec(wanted.workload))


def pull_secret(wanted: Wanted) -> Json | None:
    """Return the Secret with the login for the image's registry; None where there is none."""
    if wanted.login is None:
        return None
    user, password = wanted.login.username, wanted.login.password.get_secret_value()
    auth = {
        "username": user,
        "password": password,
        "auth": base64.b64encode(f"{user}:{password}".encode()).decode(),
    }
    host = wanted.workload.image.partition("/")[0]
    # The one name under which kubelets look for the login of Docker Hub.
    host = "https://index.docker.io/v1/" if host == "docker.io" else host
    content = json.dumps({"auths": {host: auth}})
    manifest = _object(SECRET, wanted, None)
    manifest["type"] = "kubernetes.io/dockerconfigjson"
    manifest["data"] = {".dockerconfigjson": base64.b64encode(content.encode()).decode()}
    return manifest


def _object(
    kind: Kind, wanted: Wanted, spec: Json | None, annotations: Mapping[str, str] | None = None
) -> Json:
    manifest: Json = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.settings.namespace,
            "labels": labels(wanted.owner, wanted.workload.key),
        },
    }
    if spec is not None:
        manifest["spec"] = spec
    text = json.dumps(spec, sort_keys=True)
    manifest["metadata"]["annotations"] = {
        **{name: text for name, text in (annotations or {}).items() if text},
        SPEC_HASH: hashlib.sha256(text.encode()).hexdigest()[:16],
    }
    return manifest
