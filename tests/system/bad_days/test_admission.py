"""Admission that refuses: a webhook of the cluster, one that does not answer, and a quota."""

import time
from pathlib import Path

import pytest
from parts.aggregated import free_port, own_address, self_signed
from parts.kubectl import Kubectl
from parts.platform import Up, until
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import seconds_until, tell
from parts.webhook import asked_first, refusing

pytestmark = pytest.mark.kubernetes

REFUSED = "models need a cost centre"


def refused(up: Up, expected: str) -> str:
    """Wait until a version is refused, check what callers and SQL say of it, and return that."""
    assert until(lambda: expected in up.status()["reason"] and up.status()["state"] == "failed"), (
        up.status()
    )
    status = up.json("show", "behave:1")["status"]
    answer = up.predict()
    assert answer.status_code == 503
    assert expected in answer.json()["detail"]
    return str(status["reason"])


@pytest.mark.parametrize("resource", ["pods", "deployments"])
def test_a_webhook_that_refuses(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, tmp_path: Path, resource: str
) -> None:
    up = kubernetes_up
    kubectl.run("create", "namespace", kubectl.namespace)
    with refusing(tmp_path, REFUSED) as (url, authority):
        with asked_first(kubectl, resource, url, authority) as name:
            up.run("register", "behave", "1", behave, "--no-wait")
            said = refused(up, REFUSED)
            assert said == f"the admission webhook {name} refuses it: {REFUSED}"
            time.sleep(10)
        took = seconds_until(lambda: up.predict().status_code == 200, 90)
    assert until(lambda: up.status()["state"] == "ready" and not up.status()["reason"])
    tell(f"a webhook refuses {resource} for 10 s", "503 with the reason", f"failed: {said}", took)


@pytest.mark.parametrize("resource", ["pods", "deployments"])
def test_a_webhook_that_does_not_answer(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, tmp_path: Path, resource: str
) -> None:
    up, host = kubernetes_up, own_address()
    authority, _ = self_signed(tmp_path, "webhook", f"IP:{host}")
    url = f"https://{host}:{free_port(host)}/"
    kubectl.run("create", "namespace", kubectl.namespace)
    with asked_first(kubectl, resource, url, authority) as name:
        up.run("register", "behave", "1", behave, "--no-wait")
        said = refused(up, f"the admission webhook {name}, which the cluster asks first, fails: ")
        assert "connection refused" in said
        time.sleep(10)
    took = seconds_until(lambda: up.predict().status_code == 200, 90)
    assert until(lambda: up.status()["state"] == "ready" and not up.status()["reason"])
    tell(f"a webhook for {resource} is away for 10 s", "503, with the reason", said, took)


def test_a_webhook_that_refuses_leaves_what_runs_alone(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, tmp_path: Path, ledger: Ledger
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    with (
        refusing(tmp_path, REFUSED) as (url, authority),
        steady_load(up.url, ledger) as load,
    ):
        with asked_first(kubectl, "pods", url, authority):
            # The API server takes a moment to ask.
            time.sleep(3)
            [gone, stays] = kubectl.live_pods()
            kubectl.run("delete", "pod", gone, "--wait=false")
            assert until(lambda: REFUSED in up.status()["reason"]), up.status()
            assert up.status()["state"] == "ready"
            assert kubectl.live_pods() == [stays]
        took = seconds_until(lambda: up.status()["ready"] == 2, 90)
    load.assert_spotless()
    tell("a webhook refuses a new pod of two", load.summary(), "ready, with the reason", took)


def test_a_quota_of_zero(kubernetes_up: Up, behave: str, kubectl: Kubectl) -> None:
    up = kubernetes_up
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("create", "quota", "none", "--hard=pods=0")
    up.run("register", "behave", "1", behave, "--no-wait")
    said = refused(up, "a quota of the namespace is used up: none, requested: pods=1")
    time.sleep(10)
    kubectl.run("delete", "quota", "none")
    took = seconds_until(lambda: up.predict().status_code == 200, 90)
    assert until(lambda: up.status()["state"] == "ready" and not up.status()["reason"])
    tell("a quota of zero for 10 s", "503 with the reason", f"failed: {said}", took)
