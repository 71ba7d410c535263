"""The pods of one version: pure functions of one ``Wanted``."""

import math
from collections.abc import Mapping

from longshore.core.errors import WorkloadFailed
from longshore.core.types import Workload
from longshore.plugins.kubernetes.affinity import scheduling
from longshore.plugins.kubernetes.claims import CLAIM, without_gpu_labels
from longshore.plugins.kubernetes.kinds import Json
from longshore.plugins.kubernetes.labels import (
    FINGERPRINT,
    HEALTH_PATH,
    HEALTH_REQUIRED,
    STARTUP,
    WRITABLE_ROOT,
    is_key,
    is_value,
    labels,
)
from longshore.plugins.kubernetes.wanted import Wanted

CONTAINER = "model"
PORT = "http"
GPU = "nvidia.com/gpu"

NOT_WRITABLE = "none"

ROOT = 0
PROBE_TIMEOUT = 10
"""Seconds for an answer; a busy server may be late and is not sick for that."""
KILL_AFTER = 5
"""Seconds to stop for a container that a probe gave up; nobody waits for its answers."""
_MOST_SECONDS = 2**31 - 1


def pod_template(wanted: Wanted) -> Json:
    """Return what each pod of a version is made from."""
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
    if wanted.claims_gpus:
        spec["resourceClaims"] = [{"name": CLAIM, "resourceClaimTemplateName": wanted.name}]
        spec |= scheduling(without_gpu_labels(workload), wanted.nodes)
    else:
        spec |= scheduling(workload, wanted.nodes)
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
    resources: Json = {}
    if amounts := _amounts(wanted):
        resources = {"limits": amounts, "requests": amounts}
    if wanted.claims_gpus:
        resources["claims"] = [{"name": CLAIM}]
    if resources:
        container["resources"] = resources
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
            "failureThreshold": seconds(workload.startup),
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


def _amounts(wanted: Wanted) -> dict[str, str]:
    workload, amounts = wanted.workload, {}
    if workload.cpu_millicores is not None:
        amounts["cpu"] = f"{workload.cpu_millicores}m"
    if workload.memory_mib is not None:
        amounts["memory"] = f"{workload.memory_mib}Mi"
    if workload.gpu_count and not wanted.claims_gpus:
        amounts[GPU] = str(workload.gpu_count)
    return amounts


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


def seconds(amount: float, *, extra: int = 0) -> int:
    """Return whole seconds as Kubernetes takes them: at least 1, and not too many."""
    return min(max(1, math.ceil(amount)) + extra, _MOST_SECONDS)
