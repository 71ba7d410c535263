"""What inspection on a node found, as an object in our namespace: a Lease that its pod keeps.

A Lease says who holds it, when it was renewed and how long that lasts, which is all that has to be
said of a report besides its facts; these are an annotation. Whoever may write Leases may do nothing
else by it: Longshore's own settings are ConfigMaps of the same namespace, and the right to write
ConfigMaps would be the right to change them. It belongs to the pod, so that the cluster removes it
with the pod: when the node goes, when inspection is switched off, when Longshore is uninstalled.
"""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from longshore.core.quantities import size
from longshore.core.types import Confidence, Evidence, NodeReport, utc_now
from longshore.plugins.kubernetes.client import Client
from longshore.plugins.kubernetes.kinds import LEASE, POD, Json
from longshore.plugins.kubernetes.labels import MANAGER, PREFIX
from longshore.plugins.kubernetes.reasons import moment
from longshore.plugins.kubernetes.watch import Cache

log = logging.getLogger(__name__)

ANNOTATION = f"{PREFIX}node-facts"
LABELS = {
    "app.kubernetes.io/name": "longshore-node",
    "app.kubernetes.io/component": "node-report",
    "app.kubernetes.io/part-of": "longshore",
    "app.kubernetes.io/managed-by": MANAGER,
}
SELECTOR = "app.kubernetes.io/component=node-report,app.kubernetes.io/part-of=longshore"

FORMAT = 1
MOST_BYTES = 128 << 10
"""Of all facts; an object may have twice as much in annotations. Sixteen GPUs in slices take 64."""

LONGEST = 86400
"""Seconds that a report may last."""

AHEAD = timedelta(minutes=5)
"""By how much a node's clock may be ahead of ours."""

FIRST_LOOK = 5.0
"""Seconds that the first look at all reports is waited for; what plans goes on without them."""

_MOST_FACTS = 100
_LONGEST_TEXT = 2048
_LONGEST_REASON = 300


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    value: JsonValue
    source: Annotated[str, StringConstraints(max_length=_LONGEST_TEXT)]
    confidence: Confidence


_NAME = r"^[a-z][a-z0-9_]{0,63}$"
_Name = Annotated[str, StringConstraints(pattern=_NAME)]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    facts: Annotated[Mapping[_Name, _Fact], Field(max_length=_MOST_FACTS)]


class Malformed(Exception):
    """An object is no report that can be gone by; it says why."""


def lease_of(node: str, report: NodeReport, pod: tuple[str, str] | None) -> Json:
    """Return the object that says what was found on a node.

    Args:
        node: its name, which is the object's, too.
        report: what was found.
        pod: name and uid of the pod that found it, which the object goes with; None outside of one.
    """
    metadata: Json = {
        "name": node,
        "labels": LABELS,
        "annotations": {ANNOTATION: _written(report.facts)},
    }
    if pod:
        name, uid = pod
        owner = {"apiVersion": POD.api_version, "kind": POD.name, "name": name, "uid": uid}
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.name,
        "metadata": metadata,
        "spec": {
            "holderIdentity": pod[0] if pod else node,
            "renewTime": report.read_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "leaseDurationSeconds": max(1, int(report.lasts)),
        },
    }


def report_of(lease: Json, now: datetime) -> NodeReport:
    """Return what an object says.

    Args:
        lease: the object, which anybody may have written.
        now: the time of day (UTC).

    Raises:
        Malformed: it is not as we write it.
    """
    spec = lease.get("spec") or {}
    text = (lease["metadata"].get("annotations") or {}).get(ANNOTATION) or ""
    written = text.encode(errors="replace")
    if len(written) > MOST_BYTES:
        raise Malformed(f"its facts are more than {size(MOST_BYTES)}")
    try:
        read_at = moment(spec.get("renewTime"))
    except ValueError as error:
        raise Malformed("it says no time at which they were read") from error
    if read_at is None:
        raise Malformed("it does not say when they were read")
    if read_at - now > AHEAD:
        raise Malformed(f"they were read at {read_at}, which is to come: whose clock is wrong?")
    lasts = spec.get("leaseDurationSeconds")
    if not isinstance(lasts, int) or not 0 < lasts <= LONGEST:
        raise Malformed("it does not say how long they last")
    try:
        told = _Facts.model_validate_json(written)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Malformed(ascii(f"{where}: {first['msg']}"[:_LONGEST_REASON])) from error
    facts = {name: Evidence(**dict(fact)) for name, fact in told.facts.items()}
    return NodeReport(facts=facts, read_at=read_at, lasts=lasts)


def is_of(report: NodeReport, node: Json) -> bool:
    """Return whether a report is of this node, and not of one before it that had the same name."""
    since = moment(node["metadata"].get("creationTimestamp"))
    return since is None or report.read_at >= since


class NodeReports:
    """The reports of all nodes, as far as they can be gone by.

    Args:
        client: the cluster.
    """

    def __init__(self, client: Client) -> None:
        # A report is no reason to look at versions again.
        self._cache = Cache(client, LEASE, SELECTOR, lambda: None)
        self._read: dict[str, tuple[str, NodeReport | None]] = {}

    async def run(self) -> None:
        """Follow all reports, until cancelled."""
        await self._cache.run()

    async def looked(self) -> None:
        """Wait for the first look, for some seconds; without the right to look there is none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                while not (self._cache.synced.is_set() or self._cache.problem):  # noqa: ASYNC110 - a problem is no event
                    await asyncio.sleep(0.02)

    def of(self, node: Json) -> NodeReport | None:
        """Return what was found on a node; None where nothing is known, or nothing to go by."""
        report = self._report(node["metadata"]["name"])
        return report if report and is_of(report, node) else None

    def _report(self, name: str) -> NodeReport | None:
        lease = self._cache.get(name)
        if lease is None:
            self._read.pop(name, None)
            return None
        version = lease["metadata"]["resourceVersion"]
        before = self._read.get(name)
        if before is None or before[0] != version:
            before = self._read[name] = (version, _gone_by(name, lease))
        return before[1]


def _gone_by(name: str, lease: Json) -> NodeReport | None:
    try:
        return report_of(lease, utc_now())
    except Malformed as error:
        log.warning(
            "the report of node %s (Lease %s) is left aside, and its labels count: %s",
            *(name, name, error),
        )
        return None


def _written(facts: Mapping[str, Evidence]) -> str:
    """Return facts as text; the longest ones are left out where it would be too long."""
    told = {
        name: {**fact.model_dump(mode="json"), "source": fact.source[:_LONGEST_TEXT]}
        for name, fact in list(facts.items())[:_MOST_FACTS]
        if re.fullmatch(_NAME, name)
    }
    while True:
        text = json.dumps({"format": FORMAT, "facts": told}, separators=(",", ":"))
        if len(text) <= MOST_BYTES:
            return text
        longest = max(told, key=lambda name: len(json.dumps(told[name])))
        told[longest] = Evidence(
            value=None,
            source=f"left out of the report, which would be more than {size(MOST_BYTES)}",
            confidence=Confidence.UNKNOWN,
        ).model_dump(mode="json")
