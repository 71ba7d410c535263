"""What is known of our pods: read from the caches, completed by logs, events and health checks."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from longshore.core.backends.causes import is_read_only_error
from longshore.core.backends.lines import Line, tail_of
from longshore.core.backends.writable import AS_REGISTERED
from longshore.core.errors import Unavailable
from longshore.core.types import Address, Replica, ReplicaState, utc_now
from longshore.plugins.kubernetes.client import ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.health import HealthChecks
from longshore.plugins.kubernetes.kinds import EVENT, POD, SLICE, Json
from longshore.plugins.kubernetes.labels import WORKLOAD, WRITABLE_ROOT
from longshore.plugins.kubernetes.logs import past
from longshore.plugins.kubernetes.pods import NOT_WRITABLE
from longshore.plugins.kubernetes.reasons import (
    CREATING,
    Finding,
    Told,
    container_status,
    finding,
    hindrance,
    killer,
    last_end,
    moment,
)
from longshore.plugins.kubernetes.slices import located

log = logging.getLogger(__name__)

LINES_READ = 200
"""Log lines in which the cause of an exit is looked for; fewer are shown."""

EVENTS_ARRIVE_WITHIN = timedelta(seconds=3)
"""After the end that they tell of; until then it is worth asking again."""

PREPARED_WITHIN = timedelta(seconds=10)
"""After a node was found; from then on it is worth asking why a container is not there."""

REVIVED = "started again with a writable root file system, which it needs"


@dataclass(slots=True)
class _Known:
    """What was found out about one pod besides what the caches have."""

    asked_about: str = ""
    """The end, or the readiness that was lost, to which ``told`` belongs."""
    told: Told = field(default_factory=Told)
    was_ready: bool = False
    needs_writable_root: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of ours and what it means."""

    item: Json
    finding: Finding
    replica: Replica
    needs_writable_root: bool
    """It ended because it wrote to its read-only root file system."""

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return str(self.item["metadata"]["name"])

    @property
    def annotations(self) -> Mapping[str, str]:
        """Of the pod."""
        return self.item["metadata"].get("annotations") or {}


class Replicas:
    """All pods of one installation.

    Args:
        cluster: where they are.
        now: the time of day (UTC).
    """

    def __init__(self, cluster: Cluster, now: Callable[[], datetime] = utc_now) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._pods = cluster.caches[POD]
        self._slices = cluster.caches[SLICE]
        self._wait_for_room = timedelta(seconds=cluster.settings.wait_for_room)
        self._now = now
        self._health = HealthChecks(cluster.hints.tell)
        self._known: dict[str, _Known] = {}
        """By the pod's uid."""

    async def close(self) -> None:
        """Stop all health checks."""
        await self._health.close()

    async def refresh(self) -> None:
        """Ask for what the caches do not have of pods that ended or became sick."""
        # Those without the label only pull images.
        present = {
            each["metadata"]["uid"]: each
            for each in self._pods.all()
            if WORKLOAD in each["metadata"]["labels"]
        }
        for gone in self._known.keys() - present.keys():
            del self._known[gone]
        self._health.keep(present.keys())
        asking = []
        for uid, pod in present.items():
            known = self._known.setdefault(uid, _Known())
            about = _worth_asking(pod, known, self._now())
            if about and about != known.asked_about:
                asking.append(self._ask(pod, known, about))
        await asyncio.gather(*asking)

    def by_workload(self) -> dict[str, list[Pod]]:
        """Return the pods that are not on their way out, by the name of their objects.

        Oldest first.
        """
        addresses = self._addresses()
        found: dict[str, list[Pod]] = {}
        for item in sorted(self._pods.all(), key=_age):
            metadata = item["metadata"]
            if metadata.get("deletionTimestamp") or WORKLOAD not in metadata["labels"]:
                continue
            pod = self._pod(item, addresses.get(metadata["uid"]))
            found.setdefault(metadata["labels"][WORKLOAD], []).append(pod)
        # What a node ended stays in the list for people to see; its successor is there already.
        for name, pods in found.items():
            live = [each for each in pods if each.item["status"].get("phase") != "Failed"]
            found[name] = live or pods[-1:]
        return found

    def _pod(self, item: Json, address: Address | None) -> Pod:
        known = self._known.setdefault(item["metadata"]["uid"], _Known())
        routed, unhealthy = address is not None, ""
        if address is not None:
            unhealthy = self._health.fault(item, address)
            routed = not unhealthy
        image = item["spec"]["containers"][0]["image"]
        result = finding(
            item,
            routed=routed,
            was_ready=known.was_ready,
            told=known.told,
            login=self._cluster.login_for(image),
            now=self._now(),
            wait_for_room=self._wait_for_room,
        )
        known.was_ready = known.was_ready or result.state is ReplicaState.READY
        reason, state = result.reason or (unhealthy if address else ""), result.state
        if known.needs_writable_root:
            # Others are about to take its place.
            state, reason = ReplicaState.STARTING, REVIVED
        elif not reason:
            noted = (item["metadata"].get("annotations") or {}).get(WRITABLE_ROOT, NOT_WRITABLE)
            reason = "" if noted in {NOT_WRITABLE, AS_REGISTERED} else noted
        shows_log = result.ended and result.state is not ReplicaState.READY
        replica = Replica(
            id=item["metadata"]["name"],
            state=state,
            address=address if result.state is ReplicaState.READY else None,
            reason=reason,
            hint=result.hint,
            hopeless=result.hopeless,
            exit_code=result.exit_code,
            log_tail=known.told.log_tail if shows_log else (),
            node=item["spec"].get("nodeName") or "",
            scheduled_at=_scheduled_at(item),
            started_at=started_at(item),
        )
        return Pod(item, result, replica, known.needs_writable_root)

    def _addresses(self) -> dict[str, Address]:
        """Return where requests can go, by the pod's uid, as EndpointSlices say."""
        return {each.uid: each.address for each in located(self._slices.all())}

    async def _ask(self, pod: Json, known: _Known, about: str) -> None:
        ended = last_end(pod)
        try:
            lines = await self._log(pod) if ended else []
            events = await self._events(pod)
        except (ApiError, Unavailable) as error:
            # The next look asks again.
            log.debug("%s: %s", pod["metadata"]["name"], error)
            return
        probe, killed_by = killer(events, moment((ended or {}).get("startedAt")))
        known.told = Told(
            tail_of(lines), probe, killed_by if ended else "", "" if ended else hindrance(events)
        )
        at = moment((ended or {}).get("finishedAt"))
        if killed_by or at is None or self._now() - at > EVENTS_ARRIVE_WITHIN:
            known.asked_about = about
        known.needs_writable_root = bool(
            ended and not known.was_ready and is_read_only_error([line.text for line in lines])
        )

    async def _log(self, pod: Json) -> Sequence[Line]:
        state = (container_status(pod) or {}).get("state") or {}
        name = pod["metadata"]["name"]
        # Only where another container runs already is the one that ended the one before.
        return await past(self._client, name, LINES_READ, previous="running" in state)

    async def _events(self, pod: Json) -> Sequence[Json]:
        query = {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']}", "limit": "100"}
        answer = await self._client.get(self._client.path(EVENT), query)
        events: Sequence[Json] = answer.get("items") or ()
        return events


def _worth_asking(pod: Json, known: _Known, now: datetime) -> str:
    """Return what has to be asked for, as a name for it; empty where nothing has."""
    if ended := last_end(pod):
        return f"{ended.get('containerID')} {ended.get('finishedAt')}"
    ready: Iterable[Json] = (pod.get("status") or {}).get("conditions") or ()
    condition = next((each for each in ready if each["type"] == "Ready"), None)
    if known.was_ready and condition and condition["status"] == "False":
        return f"unready {condition.get('lastTransitionTime')}"
    waiting = ((container_status(pod) or {}).get("state") or {}).get("waiting") or {}
    since = _scheduled_at(pod)
    if waiting.get("reason") == CREATING and since and now - since > PREPARED_WITHIN:
        # What holds it up may change, so it is asked again.
        return f"not made, look {(now - since) // PREPARED_WITHIN}"
    return ""


def _age(pod: Json) -> tuple[str, str]:
    metadata = pod["metadata"]
    return metadata["creationTimestamp"], metadata["name"]


def started_at(item: Json) -> datetime | None:
    """Return when a pod's container began to run; None before that.

    The pod's own start is when its node heard of it: the image may have to be pulled yet.
    """
    state = (container_status(item) or {}).get("state") or {}
    began = state.get("running") or state.get("terminated") or {}
    return moment(began.get("startedAt"))


def _scheduled_at(item: Mapping[str, Any]) -> datetime | None:
    """Return when the scheduler found a node for a pod."""
    for each in item["status"].get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "True":
            return moment(each.get("lastTransitionTime"))
    return None
