"""One version as Kubernetes objects: pure functions of one ``Wanted``.

What is left out here is left to the cluster's defaults and to others: server-side apply makes us
the owner of what we say, and of nothing else. The number of replicas is never said, so that it
belongs to the autoscaler, or to a request of its own.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from longshore.core.errors import WorkloadFailed
from longshore.core.settings import RegistryLogin
from longshore.core.types import Workload
from longshore.plugins.kubernetes.kinds import (
    AUTOSCALER,
    BUDGET,
    DEPLOYMENT,
    POLICY,
    SECRET,
    SERVICE,
    Json,
    Kind,
)
from longshore.plugins.kubernetes.labels import (
    FINGERPRINT,
    HEALTH_PATH,
    HEALTH_REQUIRED,
    MODEL,
    NODES,
    SPEC_HASH,
    STARTUP,
    VERSION,
    WRITABLE_ROOT,
    is_key,
    is_value,
    labels,
    object_name,
    selector,
)
from longshore.plugins.kubernetes.settings import KubernetesSettings

METRIC = "longshore_requests_in_flight"
"""What Longshore serves as external.metrics.k8s.io, and autoscalers go by."""

CONTAINER = "model"
PORT = "http"
GPU = "nvidia.com/gpu"

AS_REGISTERED = "as registered"
"""Why a root file system is writable that its user wanted so."""

NOT_WRITABLE = "none"

ROOT = 0
PROBE_TIMEOUT = 10
"""Seconds for an answer; a busy server may be late and is not sick for that."""
KILL_AFTER = 5
"""Seconds to stop for a container that a probe gave up; nobody waits for its answers."""
_MOST_SECONDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that the objects of one version are made of."""

    owner: str
    """Id of the installation."""
    workload: Workload
    settings: KubernetesSettings
    login: RegistryLogin | None = None
    """For the image's registry."""
    nodes: tuple[str, ...] = ()
    """Where its pods must run; anywhere if empty."""
    writable_because: str = ""
    """Why the root file system is writable; empty leaves it read-only."""
    autoscaled: bool = False
    """Whether a HorizontalPodAutoscaler sets the number of replicas."""

    @property
    def name(self) -> str:
        """What all its objects are called."""
        return object_name(self.owner, self.workload.key)


def manifests(wanted: Wanted) -> dict[Kind, Json]:
    """Return all objects of a version, in the order in which they are to be made."""
    found = {
        SECRET: pull_secret(wanted),
        POLICY: network_policy(wanted),
        SERVICE: service(wanted),
        BUDGET: disruption_budget(wanted),
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
        "progressDeadlineSeconds": _seconds(workload.startup, extra=60),
        "strategy": {
            "type": "RollingUpdate",
            # The new pod comes first; but a GPU that is free for it cannot be counted on.
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}
            if workload.gpu_count
            else {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": _pod(wanted),
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


def _pod(wanted: Wanted) -> Json:
    workload, settings = wanted.workload, wanted.settings
    own, notes = _foreign_labels(workload.labels)
    spec: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.drain + settings.stop_grace,
        "securityContext": _user(wanted),
        "containers": [_container(wanted)],
        "volumes": [
            {"name": name, "emptyDir": {"sizeLimit": settings.tmp_size}}
            if settings.tmp_size
            else {"name": name, "emptyDir": {}}
            for name in _WRITABLE
        ],
    }
    if wanted.login is not None:
        spec["imagePullSecrets"] = [{"name": wanted.name}]
    if wanted.nodes:
        spec["affinity"] = {"nodeAffinity": _only_on(wanted.nodes)}
    annotations = {
        FINGERPRINT: workload.fingerprint,
        HEALTH_PATH: workload.health_path,
        HEALTH_REQUIRED: "true" if workload.health_required else "false",
        STARTUP: f"{workload.startup:g}",
        WRITABLE_ROOT: wanted.writable_because or NOT_WRITABLE,
        # kubectl logs and exec then need no --container.
        "kubectl.kubernetes.io/default-container": CONTAINER,
    }
    return {
        "metadata": {
            "labels": {**own, **labels(wanted.owner, workload.key)},
            "annotations": {**notes, **annotations},
        },
        "spec": spec,
    }


_WRITABLE = {"tmp": "/tmp", "var-tmp": "/var/tmp", "run": "/run"}  # noqa: S108 - in the container


def _container(wanted: Wanted) -> Json:
    workload, security = wanted.workload, wanted.workload.security
    capabilities: Json = {"drop": ["ALL"]}
    if security.capabilities:
        capabilities["add"] = list(security.capabilities)
    container: Json = {
        "name": CONTAINER,
        "image": workload.image,
        # What is named by its digest is never another one.
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": PORT, "containerPort": workload.port, "protocol": "TCP"}],
        "env": [{"name": name, "value": _literal(text)} for name, text in _env(wanted).items()],
        "securityContext": {
            "allowPrivilegeEscalation": security.privilege_escalation,
            "capabilities": capabilities,
            "readOnlyRootFilesystem": not wanted.writable_because,
        },
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in _WRITABLE.items()],
        "terminationMessagePolicy": "File",
        **_probes(workload),
    }
    if workload.command is not None:
        container["args"] = [_literal(each) for each in workload.command]
    if wanted.settings.drain:
        # By when the signal comes, no router sends requests here any more.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": wanted.settings.drain}}}
    if amounts := _resources(workload):
        container["resources"] = {"limits": amounts, "requests": amounts}
    return container


def _user(wanted: Wanted) -> Json:
    """Return who the container runs as: never root, unless the version says so."""
    security = wanted.workload.security
    context: Json = {
        "runAsNonRoot": security.run_as != ROOT,
        "seccompProfile": {
            "type": "Unconfined" if security.seccomp_unconfined else "RuntimeDefault"
        },
    }
    user = _forced_user(wanted)
    if user is not None:
        context["runAsUser"] = user
    return context


def _forced_user(wanted: Wanted) -> int | None:
    """Return the user id that has to be said; None where the image's own will do."""
    if wanted.workload.security.run_as is not None:
        return wanted.workload.security.run_as
    user = wanted.workload.image_user.partition(":")[0]
    # Of a user that is a name, nobody outside the container can tell whether it is root.
    return None if user.isdecimal() and int(user) != ROOT else wanted.settings.run_as


def _env(wanted: Wanted) -> Mapping[str, str]:
    env = wanted.workload.env
    # A user that the image does not know has no home to write to.
    return env if _forced_user(wanted) in {None, ROOT} or "HOME" in env else {**env, "HOME": "/tmp"}  # noqa: S108 - in the container


def _literal(text: str) -> str:
    """Return the text so that Kubernetes does not take $(NAME) in it for a reference."""
    return text.replace("$(", "$$(")


def _probes(workload: Workload) -> Json:
    knock: Json = {"tcpSocket": {"port": PORT}}
    # A missing health path is no fault of some containers, and always one to a kubelet: there it
    # only knocks, and the path is asked by Longshore, once, before requests go there.
    ask: Json = (
        {"httpGet": {"path": workload.health_path, "port": PORT}}
        if workload.health_required
        else knock
    )
    return {
        "startupProbe": {
            **ask,
            "periodSeconds": 1,
            "timeoutSeconds": PROBE_TIMEOUT,
            "failureThreshold": _seconds(workload.startup),
            "terminationGracePeriodSeconds": KILL_AFTER,
        },
        "readinessProbe": {
            **ask,
            "periodSeconds": 3,
            "timeoutSeconds": PROBE_TIMEOUT,
            "failureThreshold": 3,
        },
        # A model that is busy for minutes with one request still has a port that takes another.
        "livenessProbe": {
            **knock,
            "periodSeconds": 10,
            "timeoutSeconds": PROBE_TIMEOUT,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": KILL_AFTER,
        },
    }


def _resources(workload: Workload) -> dict[str, str]:
    amounts = {}
    if workload.cpu_millicores is not None:
        amounts["cpu"] = f"{workload.cpu_millicores}m"
    if workload.memory_mib is not None:
        amounts["memory"] = f"{workload.memory_mib}Mi"
    if workload.gpu_count:
        amounts[GPU] = str(workload.gpu_count)
    return amounts


def _only_on(nodes: tuple[str, ...]) -> Json:
    field = {"key": "metadata.name", "operator": "In"}
    # A field can be compared with one name at a time; the terms are alternatives.
    terms = [{"matchFields": [{**field, "values": [name]}]} for name in nodes]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def _foreign_labels(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Sort what plugins labelled the workload with into labels and annotations.

    Raises:
        WorkloadFailed: Kubernetes has no place for one of them.
    """
    wrong = next((name for name in given if not is_key(name)), None)
    if wrong is not None:
        raise WorkloadFailed(
            f"a plugin labelled the workload with {wrong!r}, which cannot name a label of "
            "Kubernetes",
            hint="Its plugin has to choose another name: longshore explain tells which it is.",
        )
    as_labels = {name: text for name, text in given.items() if is_value(text)}
    return as_labels, {name: text for name, text in given.items() if name not in as_labels}


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


def _seconds(amount: float, *, extra: int = 0) -> int:
    return min(max(1, math.ceil(amount)) + extra, _MOST_SECONDS)
