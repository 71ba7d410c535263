"""Reports of nodes as objects of the cluster: written whole, and read with distrust."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longshore.core.types import Confidence, Evidence, NodeReport
from longshore.plugins.kubernetes.node_reports import (
    ANNOTATION,
    MOST_BYTES,
    Malformed,
    is_of,
    lease_of,
    report_of,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def report(facts: Mapping[str, Any] | None = None, lasts: float = 900) -> NodeReport:
    told = {"driver": "580.65.06"} if facts is None else facts
    return NodeReport(
        facts={
            name: Evidence(value=value, source=f"{name}'s", confidence=Confidence.EXACT)
            for name, value in told.items()
        },
        read_at=NOW,
        lasts=lasts,
    )


def test_what_is_written_is_read_again() -> None:
    given = report(
        {"driver": "580.65.06", "gpus": [{"name": "H100 ü", "unread": {}}], "cuda": None}
    )
    assert report_of(lease_of("node-1", given, None), NOW) == given


def test_the_object_goes_with_its_pod() -> None:
    lease = lease_of("node-1", report(), ("longshore-node-x7k2p", "an-uid"))
    assert lease["metadata"]["name"] == "node-1"
    assert lease["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "longshore-node-x7k2p", "uid": "an-uid"}
    ]
    assert lease["spec"] == {
        "holderIdentity": "longshore-node-x7k2p",
        "renewTime": "2026-03-01T12:00:00.000000Z",
        "leaseDurationSeconds": 900,
    }
    assert "ownerReferences" not in lease_of("node-1", report(), None)["metadata"]


def test_of_what_is_too_much_the_longest_is_left_out() -> None:
    given = report({"gpus": ["x" * MOST_BYTES], "numa": ["y" * 100], "driver": "580"})
    lease = lease_of("node-1", given, None)
    assert len(lease["metadata"]["annotations"][ANNOTATION]) <= MOST_BYTES
    facts = report_of(lease, NOW).facts
    assert facts["gpus"].confidence is Confidence.UNKNOWN
    assert "more than 128 KiB" in facts["gpus"].source
    assert (facts["numa"].value, facts["driver"].value) == (["y" * 100], "580")


def test_what_plugins_call_otherwise_or_in_masses_is_left_out() -> None:
    many = {f"fact_{number}": "x" * 5000 for number in range(1000)}
    facts = report_of(lease_of("node-1", report({"Not A Name": 1, **many}), None), NOW).facts
    assert 0 < len(facts) <= 100
    assert "Not A Name" not in facts


def hostile(text: str | None = None, **spec: Any) -> dict[str, Any]:
    lease = lease_of("node-1", report(), None)
    if text is not None:
        lease["metadata"]["annotations"] = {ANNOTATION: text} if text else None
    lease["spec"] = {**lease["spec"], **spec}
    return lease


def facts(name: str = "driver", **fact: object) -> str:
    told = {"value": 1, "source": "x", "confidence": "exact", **fact}
    return json.dumps({"format": 1, "facts": {name: told}})


@pytest.mark.parametrize(
    ("lease", "says"),
    [
        (hostile(""), "JSON"),
        (hostile("{"), "JSON"),
        (hostile("[]"), "object"),
        (hostile('{"format":2,"facts":{}}'), "format: Input should be 1"),
        (hostile('{"format":1,"facts":{},"more":1}'), "more: Extra inputs are not permitted"),
        (hostile(facts(confidence="certain")), "confidence"),
        (hostile(facts(source="x" * 5000)), "at most 2048 characters"),
        (hostile(facts(name="__class__")), "pattern"),
        (hostile(facts(name="x" * 65)), "pattern"),
        (hostile('{"format":1,"facts":{"a":' + '{"value":' * 9000), "recursion limit"),
        (hostile("x" * (MOST_BYTES + 1)), "more than 128 KiB"),
        (hostile(renewTime=None), "when they were read"),
        (hostile(renewTime="0000-01-01T00:00:00.000000Z"), "no time"),
        (hostile(renewTime="2026-03-01T13:00:00.000000Z"), "whose clock is wrong?"),
        (hostile(leaseDurationSeconds=10**9), "how long they last"),
        (hostile(leaseDurationSeconds=None), "how long they last"),
    ],
)
def test_what_is_no_report_is_refused_and_why(lease: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed) as malformed:
        report_of(lease, NOW)
    assert says in str(malformed.value)
    assert str(malformed.value).isprintable()
    assert len(str(malformed.value)) < 400


def test_a_clock_that_is_a_little_ahead_does_no_harm() -> None:
    lease = lease_of("node-1", report(), None)
    assert report_of(lease, NOW - timedelta(minutes=4)).read_at == NOW


@pytest.mark.parametrize(
    ("since", "of_it"),
    [("2026-03-01T11:59:59Z", True), ("2026-03-01T12:00:01Z", False), (None, True)],
)
def test_a_node_that_came_after_a_report_is_another_one(since: str | None, of_it: bool) -> None:
    node = {"metadata": {"name": "node-1", "creationTimestamp": since}}
    assert is_of(report(), node) is of_it
