"""The whole platform on a real cluster, driven from outside it, as a user types it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from engine_cli import EngineCli
from parts.kubectl import Kubectl
from parts.platform import Up, until

pytestmark = pytest.mark.kubernetes

A_SECOND = 50
"""Requests of the steady load."""


@pytest.fixture
def kubernetes_up(tmp_path: Path, engine_cli: EngineCli, kubectl: Kubectl) -> Iterator[Up]:
    """A platform whose only backend is the cluster."""
    (tmp_path / "plugins.toml").write_text(
        '[longshore]\nbackend = "kubernetes"\n\n[[plugin]]\nname = "kubernetes"\n'
        f'settings = {{ namespace = "{kubectl.namespace}", drain = 5 }}\n'
    )
    up = Up(tmp_path, engine_cli)
    up.start()
    yield up
    up.clean_up()


class Load:
    """What a steady load met."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []

    @property
    def failures(self) -> list[tuple[int, str]]:
        return [each for each in self.answers if each[0] != 200]

    def versions(self) -> set[str]:
        return {version for _, version in self.answers}


@contextmanager
def steady_load(up: Up) -> Iterator[Load]:
    """Send requests at a steady pace while the context is open, each on its own time."""
    load, over = Load(), threading.Event()
    slots = threading.Semaphore(A_SECOND)

    def ask(client: httpx.Client) -> None:
        with slots:
            try:
                answer = client.post(f"{up.url}/v1/models/behave/predict", content="x", timeout=30)
                found = answer.status_code, answer.headers.get("x-longshore-version", answer.text)
            except httpx.HTTPError as error:
                found = 0, repr(error)
            load.answers.append(found)

    def pace() -> None:
        asking: list[threading.Thread] = []
        with httpx.Client() as client:
            begun = time.monotonic()
            while not over.wait(max(0, begun + len(asking) / A_SECOND - time.monotonic())):
                thread = threading.Thread(target=ask, args=(client,))
                thread.start()
                asking.append(thread)
            for each in asking:
                each.join()

    pacing = threading.Thread(target=pace)
    pacing.start()
    try:
        yield load
    finally:
        over.set()
        pacing.join()


def pods(kubectl: Kubectl) -> list[str]:
    """Return the pods that are not on their way out."""
    found = kubectl.get("pods")["items"]
    return [
        each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]
    ]


def test_the_hand_typed_tour(kubernetes_up: Up, behave: str, kubectl: Kubectl) -> None:
    up = kubernetes_up
    registered = up.run("register", "behave", "1", behave)
    assert "ready" in registered.stdout + registered.stderr
    [model] = up.json("models")["models"]
    assert model["versions"][0]["version"]["placement"]["backend"] == "kubernetes"
    assert up.run("predict", "behave", "-d", "[[5.1, 3.5]]").stdout.strip() == "[[5.1, 3.5]]"
    assert "behave listens" in up.run("logs", "behave").stdout
    assert "longshore_resolve_image" in up.run("explain", "behave:1").stdout.replace("\n", "")
    [pod] = pods(kubectl)
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
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--target", "1000")
    up.wait_for("ready")
    assert until(lambda: up.status()["ready"] == 2)
    with steady_load(up) as load:
        time.sleep(1)
        # A pod goes, as when a node is drained.
        [first, *_] = pods(kubectl)
        kubectl.run("delete", "pod", first, "--wait=false")
        assert until(lambda: first not in pods(kubectl) and up.status()["ready"] == 2)
        # The version is replaced.
        up.run("register", "behave", "2", behave, "--env", "COLOUR=green")
        assert until(lambda: (200, "behave:2") in load.answers)
        up.run("delete", "behave:1")
        assert until(lambda: len(pods(kubectl)) == 1)
        time.sleep(6)
    assert load.failures == []
    assert load.versions() == {"behave:1", "behave:2"}
    assert len(load.answers) > A_SECOND * 10


def test_a_request_on_a_pod_that_is_deleted_is_answered(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave)
    [pod] = pods(kubectl)
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
            and len(pods(kubectl)) == 3
        ),
        within=60,
    ), up.log.read_text()
    assert up.predict().status_code == 200


def test_what_goes_on_while_longshore_does_not_is_adopted(
    kubernetes_up: Up, behave: str, kubectl: Kubectl
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave)
    before = pods(kubectl)
    up.kill()
    up.start()
    assert until(lambda: up.predict().status_code == 200)
    time.sleep(3)
    assert pods(kubectl) == before
    assert up.status()["state"] == "ready"
    assert json.loads(up.run("show", "behave:1", "--json").stdout)["status"]["failures"] == 0
