"""Rolling updates of every origin, under a steady load: no request fails."""

import json
import time

import pytest
from parts.images import push_image
from parts.kubectl import Kubectl
from parts.platform import Up, until
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import seconds_until, tell

pytestmark = pytest.mark.kubernetes

ENABLE_LINKS = {"spec": {"template": {"spec": {"enableServiceLinks": True}}}}


def all_new(kubectl: Kubectl, before: list[str]) -> bool:
    """Return whether other pods have taken the place of all that were there."""
    now = kubectl.live_pods()
    return len(now) == len(before) and not set(now) & set(before)


def test_a_rollout_that_somebody_starts(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    [deployment] = kubectl.names("deployments")
    before = kubectl.live_pods()
    with steady_load(up.url, ledger) as load:
        kubectl.run("rollout", "restart", f"deployment/{deployment}")
        took = seconds_until(lambda: all_new(kubectl, before) and up.status()["ready"] == 2)
        time.sleep(6)
    load.assert_spotless()
    tell("`kubectl rollout restart`", load.summary(), "ready throughout", took)


def test_an_edit_by_hand_that_longshore_takes_back(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    [deployment] = kubectl.names("deployments")

    def right() -> bool:
        has = kubectl.get("deployment", deployment)
        template = has["spec"]["template"]["spec"]
        return (
            template["enableServiceLinks"] is False
            and has["metadata"]["generation"] == has["status"]["observedGeneration"]
            and has["status"].get("updatedReplicas") == has["status"].get("replicas") == 2
            and up.status()["ready"] == 2
        )

    assert right()
    with steady_load(up.url, ledger) as load:
        kubectl.run("patch", "deployment", deployment, f"--patch={json.dumps(ENABLE_LINKS)}")
        took = seconds_until(right)
        time.sleep(6)
    load.assert_spotless()
    tell("a Deployment is edited by hand", load.summary(), "ready throughout", took)


def test_an_update_to_another_image(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, registry: str, ledger: Ledger
) -> None:
    up, options = kubernetes_up, ("--min", "2", "--max", "4", "--env", ledger.option)
    other = push_image("behave", registry, "behave-anew")
    up.run("register", "behave", "1", behave, *options)
    up.run("traffic", "behave", "1=100")
    assert until(lambda: up.status()["ready"] == 2)
    with steady_load(up.url, ledger) as load:
        begun = time.monotonic()
        up.run("register", "behave", "2", other, *options)
        digests = {
            up.json("show", f"behave:{each}")["version"]["image"]["digest"] for each in ("1", "2")
        }
        assert len(digests) == 2
        assert load.versions() == {"behave:1"}, "the rule still says so"
        up.run("traffic", "behave", "1=50", "2=50")
        assert until(lambda: load.versions() == {"behave:1", "behave:2"})
        up.run("traffic", "behave", "2=100")
        up.run("delete", "behave:1")
        assert until(lambda: len(kubectl.names("deployments")) == 1)
        took, over = time.monotonic() - begun, time.monotonic()
        time.sleep(6)
    load.assert_spotless()
    assert {each.version for each in load.answers if each.at > over} == {"behave:2"}
    tell("an update to another image", load.summary(), "ready throughout", took)
