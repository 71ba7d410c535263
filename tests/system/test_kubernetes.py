"""The whole platform on a real cluster, driven from outside it, as a user types it."""

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from parts.kubectl import Kubectl
from parts.platform import Up, until
from parts.steady_load import A_SECOND, Ledger, steady_load

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.kubernetes


def test_the_hand_typed_tour(kubernetes_up: Up, behave: str, kubectl: Kubectl) -> None:
    up = kubernetes_up
    registered = up.run("register", "behave", "1", behave)
    assert "ready" in registered.stdout + registered.stderr
    [model] = up.json("models")["models"]
    assert model["versions"][0]["version"]["placement"]["backend"] == "kubernetes"
    assert up.run("predict", "behave", "-d", "[[5.1, 3.5]]").stdout.strip() == "[[5.1, 3.5]]"
    assert "behave listens" in up.run("logs", "behave").stdout
    assert "longshore_resolve_image" in up.run("explain", "behave:1").stdout.replace("\n", "")
    [pod] = kubectl.live_pods()
    image = kubectl.get("pod", pod)["spec"]["containers"][0]["image"]
    assert image.endswith("@" + up.json("show", "behave:1")["version"]["image"]["digest"])
    up.run("delete", "behave:1")
    assert until(lambda: not kubectl.names("deployments"))
    assert up.json("models") == {"models": []}


def test_a_version_that_cannot_run_says_why(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    failed = up.run("register", "behave", "1", behave, "--env", "EXIT=3", check=False)
    assert failed.returncode == 1
    assert "exited with code 3; last line: last words: cannot find the model" in failed.stderr
    answer = up.predict()
    assert answer.status_code == 503
    assert "exited with code 3" in answer.json()["detail"]
    shown = up.status()
    assert (shown["state"], shown["exit_code"]) == ("failed", 3)


def test_no_request_fails_while_everything_moves(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger
) -> None:
    up = kubernetes_up
    options = ("--min", "2", "--max", "4", "--target", "1000", "--env", ledger.option)
    up.run("register", "behave", "1", behave, *options)
    up.wait_for("ready")
    assert until(lambda: up.status()["ready"] == 2)
    with steady_load(up.url, ledger) as load:
        time.sleep(1)
        # A pod goes, as when a node is drained.
        [first, *_] = kubectl.live_pods()
        kubectl.run("delete", "pod", first, "--wait=false")
        assert until(lambda: first not in kubectl.live_pods() and up.status()["ready"] == 2)
        # The version is replaced.
        up.run("register", "behave", "2", behave, "--env", ledger.option)
        assert until(lambda: "behave:2" in load.versions())
        up.run("delete", "behave:1")
        assert until(lambda: len(kubectl.live_pods()) == 1)
        time.sleep(6)
    load.assert_spotless()
    assert load.versions() == {"behave:1", "behave:2"}
    assert len(load.answers) > A_SECOND * 10


def test_a_request_on_a_pod_that_is_deleted_is_answered(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave)
    [pod] = kubectl.live_pods()
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(up.get("/v1/models/behave/versions/1/raw/slow?seconds=3"))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    kubectl.run("delete", "pod", pod, "--wait=false")
    asking.join()
    assert [(each.status_code, each.text) for each in answers] == [(200, "slow\n")]
    assert until(lambda: up.predict().status_code == 200)


def test_everything_lost_but_sql_comes_back(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    for number in ("1", "2", "3"):
        up.run("register", "behave", number, behave, "--env", f"N={number}")
    kubectl.run("delete", "namespace", kubectl.namespace)
    restored = up.run("restore")
    assert "did not come back" not in restored.stderr
    assert until(
        lambda: (
            all(
                up.get(f"/api/models/behave/versions/{number}").json()["status"]["state"] == "ready"
                for number in ("1", "2", "3")
            )
            and len(kubectl.live_pods()) == 3
        ),
        within=60,
    ), up.log.read_text()
    assert up.predict().status_code == 200


def test_what_goes_on_while_longshore_does_not_is_adopted(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave)
    before = kubectl.live_pods()
    up.kill()
    up.start()
    assert until(lambda: up.predict().status_code == 200)
    time.sleep(3)
    assert kubectl.live_pods() == before
    assert up.status()["state"] == "ready"
    assert json.loads(up.run("show", "behave:1", "--json").stdout)["status"]["failures"] == 0


def test_a_version_sleeps_and_wakes_under_a_steady_load(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "0", "--max", "2", "--target", "1000")
    up.wait_for("ready")
    with steady_load(up.url) as load:
        time.sleep(1)
        up.run("sleep", "behave:1")
        assert until(lambda: up.json("show", "behave:1")["wakes"])
        # The Deployment of before has to be gone before another one comes.
        up.wait_for("ready", within=60)
        time.sleep(1)
    assert not load.faults, (load.summary(), up.log.read_text())
    assert until(lambda: up.json("show", "behave:1")["wakes"][-1]["first_byte_at"])
    wake = up.json("show", "behave:1")["wakes"][-1]
    assert wake["held"]
    assert wake["lost"] == 0
    assert wake["scheduled_at"]
    assert wake["started_at"]


def test_an_idle_version_has_no_deployment(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "0", "--max", "2", "--idle", "3")
    assert until(lambda: not kubectl.names("deployments"), 60), up.log.read_text()
    answer = up.predict("good morning")
    assert (answer.status_code, answer.text) == (200, "good morning")
