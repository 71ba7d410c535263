"""What a pod's state means for its version, in sentences: pure functions over API objects."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from longshore.core.backends.causes import quoted, start_failure, why_ended, why_not_pulled
from longshore.core.errors import WorkloadFailed
from longshore.core.settings import RegistryLogin
from longshore.core.types import ReplicaState
from longshore.plugins.kubernetes.kinds import Json
from longshore.plugins.kubernetes.labels import HEALTH_PATH, STARTUP
from longshore.plugins.kubernetes.pods import CONTAINER, PROBE_TIMEOUT

CREATING = "ContainerCreating"
"""Why a container waits that its node has not made yet: volumes, devices or the network are not
ready, or the image is pulled."""

REMEMBERED = timedelta(minutes=10)
"""How long a restart is told of that went well."""

_PULL = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_START_ERROR = frozenset({"StartError", "ContainerCannotRun"})
_NO_RIGHT = re.compile(r"permission denied|\bEACCES\b", re.IGNORECASE)
_PREFIXES = re.compile(r"^(?:Back-off pulling image \"[^\"]*\": |ErrImagePull: |rpc error: )+")


@dataclass(frozen=True, slots=True)
class Told:
    """What has to be asked for besides the pod: what its last container wrote, and its probes."""

    log_tail: tuple[str, ...] = ()
    probe: str = ""
    """What the kubelet wrote of the probe that failed last."""
    killed_by: str = ""
    """Which probe the kubelet ended the last container for: ``startup``, ``liveness`` or none."""
    hindered: str = ""
    """What the kubelet wrote last of why it makes no container."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pod is, and why."""

    state: ReplicaState
    reason: str = ""
    hint: str = ""
    hopeless: bool = False
    exit_code: int | None = None
    ended: bool = False
    """Whether the reason is that a container ended, so that its log is worth reading."""


def finding(  # noqa: PLR0911 - one return for each thing that a pod can be
    pod: Json,
    *,
    routed: bool,
    was_ready: bool,
    told: Told,
    login: RegistryLogin | None,
    now: datetime,
    wait_for_room: timedelta = timedelta(),
) -> Finding:
    """Return what a pod is.

    Args:
        pod: as the API has it.
        routed: whether an EndpointSlice says that it is ready, and its own health check agrees.
        was_ready: whether that was so before.
        told: what was found out about it besides.
        login: for the image's registry.
        now: the time of day (UTC).
        wait_for_room: for how long no node may have room for it before that is hopeless.
    """
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        said = status.get("message") or status.get("reason") or "it failed"
        return Finding(ReplicaState.EXITED, f"ended by its node: {quoted(said)}")
    container = container_status(pod)
    if container is None:
        return _unplaced(status, now - wait_for_room)
    state = container.get("state") or {}
    if waiting := state.get("waiting"):
        return _waiting(pod, container, waiting, told, login)
    if ended := state.get("terminated"):
        why = why_terminated(pod, ended, told)
        return Finding(ReplicaState.STARTING, why, exit_code=ended.get("exitCode"), ended=True)
    before = (container.get("lastState") or {}).get("terminated")
    if routed:
        return Finding(ReplicaState.READY, _restarted(pod, container, before, told, now))
    if was_ready and container.get("started"):
        # What was found while it started is no news.
        probe = "" if told.probe.startswith("Startup") else told.probe
        return Finding(ReplicaState.UNREADY, _fault(pod, probe) or "its health check fails")
    return _again(pod, before, told)


def container_status(pod: Json) -> Json | None:
    """Return the status of the model's container; None until the node took the pod."""
    statuses: Sequence[Json] = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each["name"] == CONTAINER), None)


def last_end(pod: Json) -> Json | None:
    """Return how the model's container ended last; None if it never did."""
    container = container_status(pod) or {}
    for which in ("state", "lastState"):
        ended: Json | None = (container.get(which) or {}).get("terminated")
        if ended:
            return ended
    return None


def why_terminated(pod: Json, ended: Json, told: Told) -> str:
    """Return why a container ended."""
    if told.killed_by == "startup":
        limit = float(_annotation(pod, STARTUP) or 0)
        return f"not ready within {limit:g} s: {_fault(pod, told.probe) or 'no answer'}"
    if told.killed_by == "liveness":
        fault = _fault(pod, told.probe) or "no answer"
        return f"stopped by its node, because it answered no more: {fault}"
    if ended.get("reason") in _START_ERROR:
        return start_failure(ended.get("message") or "", _command(pod)).message
    return why_ended(
        ended.get("exitCode"),
        told.log_tail,
        memory_mib=_memory(pod),
        oom=ended.get("reason") == "OOMKilled",
    )


def _unplaced(status: Json, hopes_since: datetime) -> Finding:
    for each in status.get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "False":
            said = quoted(each.get("message") or each.get("reason") or "")
            if each.get("reason") == "Unschedulable":
                since = moment(each.get("lastTransitionTime"))
                return Finding(
                    ReplicaState.STARTING,
                    f"no node has room for it: {said}",
                    hint="Free or add a node, or register a version that asks for less.",
                    hopeless=since is None or since <= hopes_since,
                )
            return Finding(ReplicaState.STARTING, said)
    return Finding(ReplicaState.STARTING)


def _waiting(
    pod: Json, container: Json, waiting: Json, told: Told, login: RegistryLogin | None
) -> Finding:
    reason, message = waiting.get("reason") or "", waiting.get("message") or ""
    if reason == "CrashLoopBackOff":
        ended = (container.get("lastState") or {}).get("terminated") or {}
        why = why_terminated(pod, ended, told)
        return Finding(
            ReplicaState.EXITED,
            why,
            hint=_start_hint(pod, ended, told),
            exit_code=ended.get("exitCode"),
            ended=True,
        )
    if reason in _PULL:
        failed = why_not_pulled(_image(pod), _PREFIXES.sub("", message) or reason, login)
        return _stuck(failed)
    if reason in _CONFIG:
        return _stuck(_refused(message, _command(pod)))
    if reason == CREATING and told.hindered:
        return Finding(
            ReplicaState.STARTING, f"its node does not get it ready: {quoted(told.hindered)}"
        )
    return _again(pod, (container.get("lastState") or {}).get("terminated"), told)


def _again(pod: Json, before: Json | None, told: Told) -> Finding:
    """Return what a container is that starts, maybe not for the first time."""
    if before is None:
        return Finding(ReplicaState.STARTING)
    why = f"started again after: {why_terminated(pod, before, told)}"
    return Finding(ReplicaState.STARTING, why, exit_code=before.get("exitCode"), ended=True)


def _stuck(failed: WorkloadFailed) -> Finding:
    return Finding(ReplicaState.STARTING, failed.message, hint=failed.hint, hopeless=True)


def _refused(message: str, command: Sequence[str]) -> WorkloadFailed:
    """Return the error for a container that the node does not even create."""
    if "runAsNonRoot" in message or "non-root" in message:
        return WorkloadFailed(
            f"it would run as root, which is not allowed: {quoted(message)}",
            hint="Give the image a USER, or register a version with --run-as.",
        )
    return start_failure(message, command)


def _start_hint(pod: Json, ended: Json, told: Told) -> str:
    if ended.get("reason") in _START_ERROR:
        return start_failure(ended.get("message") or "", _command(pod)).hint
    user = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    if user and any(_NO_RIGHT.search(line) for line in told.log_tail):
        return (
            f"It ran as user {user}. Let the image's files belong to that user, give the image a "
            "USER of its own, or register a version with --run-as."
        )
    return ""


def _restarted(pod: Json, container: Json, before: Json | None, told: Told, now: datetime) -> str:
    """Return what is worth knowing of a pod that is ready, and was not for long."""
    ended_at = moment((before or {}).get("finishedAt"))
    if before is None or ended_at is None or now - ended_at > REMEMBERED:
        return ""
    count = container.get("restartCount", 1)
    times = "once" if count == 1 else f"{count} times"
    return f"was started again {times}, last after: {why_terminated(pod, before, told)}"


def _fault(pod: Json, message: str) -> str:
    """Return what a kubelet says of a probe as Longshore says it elsewhere."""
    if not message:
        return ""
    path, port = _annotation(pod, HEALTH_PATH), _port(pod)
    if found := re.search(r"statuscode: (\d+)", message):
        return f"GET {path} answered {found[1]}"
    if "connection refused" in message:
        return f"connection refused on port {port}"
    if "deadline exceeded" in message or "Client.Timeout" in message or "i/o timeout" in message:
        return f"GET {path} got no answer within {PROBE_TIMEOUT} s"
    return quoted(message.partition("probe failed: ")[2] or message)


# --- what is told of whole versions ---------------------------------------------------------------

_WEBHOOK = re.compile(r"admission webhook \"([^\"]+)\" denied the request:?\s*(.*)", re.DOTALL)
_WEBHOOK_AWAY = re.compile(r"failed calling webhook \"([^\"]+)\":?\s*(.*)", re.DOTALL)
_POLICY = re.compile(
    r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request:?\s*(.*)", re.DOTALL
)
_QUOTA = re.compile(r"exceeded quota: (.*)", re.DOTALL)
_SECURITY = re.compile(r"violates PodSecurity \"([^\"]+)\":?\s*(.*)", re.DOTALL)


def refusal(message: str) -> WorkloadFailed:  # noqa: PLR0911 - one return for each cause
    """Return the error for an object that the API server did not take."""
    if found := _QUOTA.search(message):
        return WorkloadFailed(
            f"a quota of the namespace is used up: {quoted(found[1])}",
            hint="Raise the quota, or let other versions sleep.",
        )
    if found := _WEBHOOK.search(message):
        return WorkloadFailed(
            f"the admission webhook {found[1]} refuses it: {quoted(found[2]) or 'without a word'}",
            hint="Ask whoever runs that webhook; it is a policy of the cluster.",
        )
    if found := _POLICY.search(message):
        return WorkloadFailed(
            f"the cluster's policy {found[1]} refuses it: {quoted(found[2]) or 'without a word'}",
            hint="Ask whoever runs the cluster.",
        )
    if found := _WEBHOOK_AWAY.search(message):
        return WorkloadFailed(
            f"the admission webhook {found[1]}, which the cluster asks first, fails: "
            f"{quoted(found[2])}",
            hint="Ask whoever runs that webhook.",
        )
    if found := _SECURITY.search(message):
        return WorkloadFailed(
            f"the namespace's Pod Security Standard ({found[1]}) forbids it: {quoted(found[2])}",
            hint="Register a version without the relaxations, or let the namespace allow them.",
        )
    if "forbidden" in message:
        return WorkloadFailed(
            f"the cluster forbids it: {quoted(message)}",
            hint="docs/operators.md lists the rights that Longshore needs.",
        )
    return WorkloadFailed(f"the cluster refuses it: {quoted(message)}")


def shortage(deployment: Json) -> WorkloadFailed | None:
    """Return why a Deployment cannot make its pods; None if it can."""
    for each in (deployment.get("status") or {}).get("conditions") or ():
        if each["type"] == "ReplicaFailure" and each["status"] == "True":
            return refusal(each.get("message") or each.get("reason") or "")
    return None


def killer(events: Sequence[Json], since: datetime | None) -> tuple[str, str]:
    """Return from a pod's events what its last failed probe found, and for which it was ended.

    Args:
        events: of the pod, in any order.
        since: when the container began that ended last; what happened before did not end it.
    """
    probe, killed_by = "", ""
    for each in sorted(events, key=_event_time):
        message = each.get("message") or ""
        if each.get("reason") == "Unhealthy":
            # Kubelets tell of few that repeat themselves, so that an older one has to do.
            probe = message
        elif each.get("reason") == "Killing" and "failed" in message and not _before(each, since):
            killed_by = next((which for which in ("startup", "liveness") if which in message), "")
    return probe, killed_by


def hindrance(events: Sequence[Json]) -> str:
    """Return from a pod's events what its kubelet complained of last; empty where of nothing."""
    for each in sorted(events, key=_event_time, reverse=True):
        by = each.get("reportingComponent") or (each.get("source") or {}).get("component")
        if by == "kubelet" and each.get("type") == "Warning":
            return str(each.get("message") or "")
    return ""


def moment(text: str | None) -> datetime | None:
    """Read a time as the API writes it."""
    return datetime.fromisoformat(text) if text else None


def _event_time(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _before(event: Json, since: datetime | None) -> bool:
    at = moment(_event_time(event))
    # Times of events are whole seconds.
    return bool(since and at and at < since - timedelta(seconds=1))


def _container(pod: Json) -> Json:
    found: Json = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    return found


def _image(pod: Json) -> str:
    return str(_container(pod)["image"])


def _command(pod: Json) -> Sequence[str]:
    return _container(pod).get("args") or ()


def _port(pod: Json) -> int:
    return int(_container(pod)["ports"][0]["containerPort"])


def _memory(pod: Json) -> int | None:
    limits: Mapping[str, str] = (_container(pod).get("resources") or {}).get("limits") or {}
    text = limits.get("memory", "")
    found = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    return int(found[1]) * (1024 if found[2] == "Gi" else 1) if found else None


def _annotation(pod: Json, name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(name, ""))
