"""What inspection on a node itself reported of it: checked, with its age, and beside its labels."""

import logging
from collections.abc import Mapping
from datetime import datetime

from longshore.core.types import Confidence, Evidence, Node, NodeReport
from longshore.hardware.node.checks import fault_of
from longshore.hardware.node.differences import with_differences
from longshore.hardware.node.facts import complete, declared, known, unknown

log = logging.getLogger(__name__)

_OF_ITS_PROCESS = frozenset(
    {"cpuset", "cpu_quota_millicores", "cpu_limit_millicores", "memory_limit_mib"}
)
"""Facts about the process that inspects, and no other: in a pod, they are its own limits."""

NOT_REPORTED = _OF_ITS_PROCESS | {"labels"}
"""What is known better by whoever reads reports: labels are its backend's."""
_NOT_THE_NODES = "what inspection itself may use on the node says nothing of other pods"
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def reported_facts(
    node: Node, report: NodeReport, labels: Mapping[str, Evidence], now: datetime
) -> dict[str, Evidence]:
    """Return all that is known of a node that is inspected by another process, on itself.

    What was read counts before what labels tell, as long as it is fresh; where both know and
    differ, the source says so.

    Args:
        node: as its backend describes it.
        report: what was read on it.
        labels: facts that its labels tell.
        now: the time of day (UTC).
    """
    age = max(0.0, (now - report.read_at).total_seconds())
    stale = age > report.lasts
    told = f"read on the node {_in_words(age)} ago" + (", and not since" if stale else "")
    read = {
        name: _checked(node.name, name, fact, told, stale=stale)
        for name, fact in report.facts.items()
        if name not in NOT_REPORTED
    }
    given = "what the node gives to pods, as the backend tells"
    limits = {
        "cpu_limit_millicores": declared(node.cpu_millicores, given),
        "memory_limit_mib": declared(node.memory_mib, given),
        **dict.fromkeys(("cpuset", "cpu_quota_millicores"), unknown(_NOT_THE_NODES)),
    }
    if stale:
        # Labels are kept up to date by others.
        return complete(limits | with_differences(known(labels, read), read), told)
    return complete(limits | with_differences(known(read, labels), labels), told)


def _checked(node: str, name: str, fact: Evidence, told: str, *, stale: bool) -> Evidence:
    fault = "" if fact.confidence is Confidence.UNKNOWN else fault_of(name, fact.value)
    if fault:
        log.warning("node %s: what was reported of %s is left aside: %s", node, name, fault)
        return unknown(f"what the node's inspection reports is left aside: {fault}; {told}")
    return Evidence(
        value=None if fact.confidence is Confidence.UNKNOWN else fact.value,
        source=f"{fact.source}; {told}",
        confidence=Confidence.INFERRED
        if stale and fact.confidence is Confidence.EXACT
        else fact.confidence,
    )


def _in_words(seconds: float) -> str:
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
