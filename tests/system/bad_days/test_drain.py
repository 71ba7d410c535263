"""The one node of a cluster is drained under load."""

import os
import subprocess
import time
from collections.abc import Iterator

import pytest
from parts.kubectl import Kubectl
from parts.platform import Up, until
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import seconds_until, tell

pytestmark = pytest.mark.kubernetes

ALLOWED = "TEST_DRAIN"
OURS = "app.kubernetes.io/part-of=longshore"


class OneNode:
    """The node of a cluster that has no other."""

    def __init__(self, name: str, kubectl: Kubectl) -> None:
        self._name, self._kubectl = name, kubectl

    def drain(self, within: int) -> subprocess.CompletedProcess[str]:
        """Drain it of model pods, as people do; other pods are none of this test's."""
        options = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={within}s")
        return subprocess.run(
            ["kubectl", "drain", self._name, f"--pod-selector={OURS}", *options],
            capture_output=True,
            text=True,
            check=False,
        )

    def uncordon(self) -> None:
        self._kubectl.run("uncordon", self._name)


@pytest.fixture
def node(kubectl: Kubectl) -> Iterator[OneNode]:
    if ALLOWED not in os.environ:
        pytest.skip(f"the cluster's node may not be drained: set {ALLOWED}=1 to allow it")
    names = kubectl.names("nodes")
    if len(names) != 1:
        pytest.skip("the cluster has more than one node")
    node = OneNode(names[0], kubectl)
    yield node
    node.uncordon()


@pytest.mark.timeout(240)
def test_with_two_replicas_the_budget_keeps_one(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger, node: OneNode
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    before = kubectl.live_pods()
    with steady_load(up.url, ledger) as load:
        drained = node.drain(within=20)
        assert drained.returncode, "one pod of two may go, and nothing can take its place"
        assert "would violate the pod's disruption budget" in drained.stderr
        assert len(set(before) & set(kubectl.live_pods())) == 1
        status = up.status()
        assert (status["state"], status["ready"]) == ("ready", 1)
        assert "unschedulable" in status["reason"]
        node.uncordon()
        took = seconds_until(lambda: up.status()["ready"] == 2 and not unplaced(up))
        time.sleep(6)
    load.assert_spotless()
    tell("a node is drained, 2 replicas", load.summary(), f"ready: {status['reason']}", took)


def unplaced(up: Up) -> bool:
    """Return whether the status says that no node has room."""
    return "no node has room" in up.status()["reason"]


@pytest.mark.timeout(240)
def test_with_one_replica_callers_learn_why(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger, node: OneNode
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--env", ledger.option)
    with steady_load(up.url, ledger) as load:
        drained = node.drain(within=60)
        assert drained.returncode == 0, drained.stderr
        assert until(lambda: up.status()["state"] == "failed"), up.status()
        reason = up.status()["reason"]
        assert reason.startswith("no node has room for it: 0/1 nodes are available: ")
        assert "unschedulable" in reason
        uncordoned = time.monotonic()
        node.uncordon()
        took = seconds_until(lambda: load.well_since(uncordoned))
    assert load.faults
    assert {each.outcome for each in load.faults} == {"failed"}, load.summary()
    assert all(each.said.startswith("503 ") for each in load.faults), load.summary()
    assert any("unschedulable" in each.said for each in load.faults), load.summary()
    assert not load.doubled
    assert until(lambda: up.status()["state"] == "ready" and not up.status()["reason"])
    tell("a node is drained, 1 replica", load.summary(), f"failed: {reason}", took)
