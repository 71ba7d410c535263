"""Images on nodes ahead of need: which pods pull them, and what came of those that did. Pure.

A pull is a pod that names the image and a command that no image has. Its node pulls the image,
finds nothing to run, and the pod has failed: nothing of the image ever ran. What it left is the
image.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.plugins.kubernetes.kinds import POD, SECRET, Json
from longshore.plugins.kubernetes.labels import MANAGER, OWNER, PULL, PULLED_ON, WORKLOAD
from longshore.plugins.kubernetes.manifests import pull_secret
from longshore.plugins.kubernetes.pods import CONTAINER, pod_template
from longshore.plugins.kubernetes.reasons import container_status, moment
from longshore.plugins.kubernetes.wanted import Wanted

MOST_AT_ONCE = 4
"""Pulls under way; more would only share the same network, and fill disks faster."""

NOTHING = "/longshore/pulls/this/image/and/runs/nothing"
"""The command. It must not exist."""

LOGIN = "longshore.io/login"
"""Gate that keeps a pull from nodes until the Secret with its login is there."""

PATIENCE = timedelta(minutes=2)
"""For a pull that the cluster says cannot be: no node takes it, or the registry gives no image."""

LONGEST = timedelta(minutes=30)
"""For any pull."""

LOOK_AGAIN = timedelta(days=1)
"""After a pull, before a node that does not list its image is asked again: nodes list the largest
50 of theirs alone, and remove those that nothing uses when their disks fill up."""

FIRST_BACKOFF = timedelta(minutes=1)
LONGEST_BACKOFF = timedelta(hours=1)

_REFUSED = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RegistryUnavailable"}
)
_COMES_AFTER_THE_PULL = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""Why a container waits whose image is there; with some runtimes it waits so for ever."""

Target = tuple[str, str]
"""A node's name, and an image."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the tries to bring one image to one node."""

    not_before: datetime
    """When the next try may be."""
    failures: int = 0
    """In a row."""

    def next_after(self, problem: str, now: datetime) -> "Tried":
        """Return what is known after another try, which failed for a reason or went well."""
        if not problem:
            return Tried(now + LOOK_AGAIN)
        wait = min(FIRST_BACKOFF * 2.0 ** min(self.failures, 16), LONGEST_BACKOFF)
        return Tried(now + wait, self.failures + 1)


@dataclass(frozen=True, slots=True)
class Pull:
    """An image that is to come to a node."""

    wanted: Wanted
    node: str

    @property
    def target(self) -> Target:
        """What is to come where."""
        return self.node, self.wanted.workload.image

    @property
    def name(self) -> str:
        """What its pod is called: always the same, so that there is never a second one."""
        unique = hashlib.sha256("/".join(self.target).encode()).hexdigest()[:8]
        return f"{self.wanted.name}-pull-{unique}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A pull that is over: its pod is to be removed."""

    pod: str
    target: Target
    problem: str = ""
    """Why it failed; empty where the node has the image now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next."""

    begin: tuple[Pull, ...] = ()
    ended: tuple[Ended, ...] = ()
    unwanted: tuple[str, ...] = ()
    """Names of pods whose image nobody wants ahead any more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is."""

    pods: Sequence[Json]
    """All of this installation."""
    nodes: Sequence[Json] = ()
    tried: Mapping[Target, Tried] = field(default_factory=dict)


def is_pull(pod: Json) -> bool:
    """Return whether a pod of ours pulls an image, and is nobody's replica."""
    return PULL in pod["metadata"]["labels"]


def plan(wanted: Sequence[Wanted], seen: Seen, now: datetime, *, count: int) -> Plan:
    """Decide which pulls begin and which pods of earlier ones go.

    Args:
        wanted: the versions that may run, those asleep included.
        seen: what there is.
        now: the time of day (UTC).
        count: how many nodes get the image of a version ahead.
    """
    images = {each.workload.image for each in wanted} if count else set()
    ended, unwanted, under_way = [], [], set[Target]()
    for pod in filter(is_pull, seen.pods):
        name, target = pod["metadata"]["name"], target_of(pod)
        gone = pod["metadata"].get("deletionTimestamp")
        problem = None if gone else outcome(pod, now)
        if not gone and target[1] not in images:
            unwanted.append(name)
        elif problem is not None:
            ended.append(Ended(name, target, problem))
        else:
            under_way.add(target)
    over = {each.target for each in ended}
    room = MOST_AT_ONCE - len(under_way)
    begin: dict[Target, Pull] = {}
    for pull in _missing(wanted, seen, count):
        tried = seen.tried.get(pull.target)
        if pull.target in under_way | over or (tried and now < tried.not_before):
            continue
        if len(begin) < room:
            begin.setdefault(pull.target, pull)
    return Plan(tuple(begin.values()), tuple(ended), tuple(unwanted))


def _missing(wanted: Sequence[Wanted], seen: Seen, count: int) -> Iterator[Pull]:
    """Yield where images are to be and are not: each version's best node before any second one."""
    usable = {each["metadata"]["name"]: _images(each) for each in seen.nodes if _takes_pods(each)}
    there = {each["metadata"]["name"] for each in seen.nodes}
    # Where its replicas are, the image is, or comes with them.
    has = {target_of(pod) for pod in seen.pods if WORKLOAD in pod["metadata"]["labels"]}
    places = [(each, _places(each, there, usable)[:count]) for each in wanted]
    for rank in range(max((len(nodes) for _, nodes in places), default=0)):
        for each, nodes in places:
            if rank < len(nodes):
                pull = Pull(each, nodes[rank])
                if pull.target not in has and each.workload.image not in usable[pull.node]:
                    yield pull


def _places(wanted: Wanted, there: set[str], usable: Mapping[str, object]) -> list[str]:
    """Return the nodes that may run a version and take pods now, best first.

    Those are all where the cluster has none of those that placement chose, as for its replicas.
    """
    chosen = [node for node in wanted.workload.nodes if node in there] or sorted(there)
    return [node for node in chosen if node in usable]


def _takes_pods(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")


def _images(node: Json) -> frozenset[str]:
    """Return what a node says that it has, by all names."""
    images = (node.get("status") or {}).get("images") or ()
    return frozenset(name for each in images for name in each.get("names") or ())


def target_of(pod: Json) -> Target:
    """Return which image a pod brings to which node."""
    spec = pod["spec"]
    notes = pod["metadata"].get("annotations") or {}
    image: str = spec["containers"][0]["image"]
    return notes.get(PULLED_ON) or spec.get("nodeName") or "", image


def outcome(pod: Json, now: datetime) -> str | None:
    """Return why a pull failed; empty where the node has the image; None while it goes on."""
    status = pod.get("status") or {}
    state = (container_status(pod) or {}).get("state") or {}
    waiting = state.get("waiting") or {}
    why = waiting.get("reason") or ""
    if status.get("reason"):
        # Put out by its node, or never let in: before the pull, as far as can be told.
        return f"{status['reason']}: {status.get('message') or 'its node does not say why'}"
    if "terminated" in state or "running" in state or why in _COMES_AFTER_THE_PULL:
        return ""
    said = waiting.get("message") or why
    made = moment(pod["metadata"].get("creationTimestamp")) or now
    scheduling = _not_scheduled(status.get("conditions") or ())
    if (why in _REFUSED or scheduling) and now - made > PATIENCE:
        return scheduling or said
    return f"not there after {LONGEST}: {said}" if now - made > LONGEST else None


def _not_scheduled(conditions: Iterable[Json]) -> str:
    """Return why no node takes a pod; empty where one did, or nobody looked yet."""
    for each in conditions:
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return each.get("message") or each.get("reason") or "no node takes it"
    return ""


# --- objects ----------------------------------------------------------------------------------

_KEPT = ("affinity", "nodeSelector", "tolerations")
"""What a pull has from the version's own pods: where they may run."""


def pull_pod(pull: Pull) -> Json:
    """Return the pod of a pull.

    It is kept to its node by affinity, so that the scheduler has its say: a node that is cordoned,
    tainted against such pods, or short of disk space does not get it. Naming the node outright
    would pass all that by.
    """
    wanted, name = pull.wanted, pull.name
    own = pod_template(Wanted(wanted.owner, wanted.workload, wanted.settings, nodes=(pull.node,)))
    spec: Json = {
        **{part: own["spec"][part] for part in _KEPT if part in own["spec"]},
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        # Of whatever a version is allowed, its pull needs nothing.
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": wanted.settings.run_as,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": wanted.workload.image,
                "imagePullPolicy": "IfNotPresent",
                "command": [NOTHING],
                "resources": {
                    "requests": {"cpu": "1m", "memory": "1Mi"},
                    "limits": {"cpu": "100m", "memory": "64Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
            }
        ],
    }
    if wanted.login is not None:
        spec["imagePullSecrets"] = [{"name": name}]
        spec["schedulingGates"] = [{"name": LOGIN}]
    return {
        "apiVersion": POD.api_version,
        "kind": POD.name,
        "metadata": {
            "name": name,
            "namespace": wanted.settings.namespace,
            "labels": _labels(wanted),
            "annotations": {PULLED_ON: pull.node},
        },
        "spec": spec,
    }


def login_of(pull: Pull, uid: str) -> Json | None:
    """Return the Secret with a pull's login, which the cluster removes with its pod; None for none.

    That of the version itself is there only while it runs.

    Args:
        pull: whose.
        uid: of its pod.
    """
    secret = pull_secret(pull.wanted)
    if secret is None:
        return None
    owner = {"apiVersion": POD.api_version, "kind": POD.name, "name": pull.name, "uid": uid}
    metadata = {
        "name": pull.name,
        "namespace": pull.wanted.settings.namespace,
        "labels": _labels(pull.wanted),
        "ownerReferences": [owner],
    }
    return {**secret, "kind": SECRET.name, "metadata": metadata}


def _labels(wanted: Wanted) -> dict[str, str]:
    """Return the labels of a pull: none by which Services, budgets or autoscalers find replicas."""
    return {
        OWNER: wanted.owner,
        PULL: wanted.name,
        "app.kubernetes.io/name": wanted.workload.key.name,
        "app.kubernetes.io/component": "image-pull",
        "app.kubernetes.io/part-of": "longshore",
        "app.kubernetes.io/managed-by": MANAGER,
    }
