"""What a version stands on is taken away: its image, its namespace, Longshore's credentials."""

import os
import time
from pathlib import Path

import httpx
import pytest
from engine_cli import EngineCli
from parts.backends import MANIFESTS, pinned
from parts.images import push_image
from parts.kubectl import Kubectl
from parts.kubernetes_backend import cluster_copy
from parts.platform import Up, on_cluster, until
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import seconds_until, tell

pytestmark = pytest.mark.kubernetes


class Manifest:
    """An image in the registry, which can be deleted and put back."""

    def __init__(self, reference: str) -> None:
        host, _, rest = pinned(reference).partition("/")
        path, _, digest = rest.partition("@")
        self._url = f"http://{host}/v2/{path}/manifests/{digest}"
        got = httpx.get(self._url, headers={"accept": MANIFESTS}).raise_for_status()
        self._content, self._kind = got.content, got.headers["content-type"]

    def delete(self) -> None:
        httpx.delete(self._url).raise_for_status()

    def put_back(self) -> None:
        headers = {"content-type": self._kind}
        httpx.put(self._url, content=self._content, headers=headers).raise_for_status()


def test_an_image_that_is_deleted_from_the_registry(
    kubernetes_up: Up, kubectl: Kubectl, registry: str
) -> None:
    up = kubernetes_up
    # No node has it yet: its digest is of this run alone.
    reference = push_image("behave", registry, f"behave-{kubectl.namespace}")
    manifest = Manifest(reference)
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("create", "quota", "none", "--hard=pods=0")
    up.run("register", "behave", "1", reference, "--no-wait")
    assert until(lambda: "quota" in up.status()["reason"])
    manifest.delete()
    kubectl.run("delete", "quota", "none")
    assert until(lambda: "is not in the registry" in up.status()["reason"], 60), up.status()
    status = up.json("show", "behave:1")["status"]
    assert status["state"] == "failed"
    answer = up.predict()
    assert answer.status_code == 503
    assert "is not in the registry" in answer.json()["detail"]
    manifest.put_back()
    took = seconds_until(lambda: up.predict().status_code == 200, 120)
    assert until(lambda: up.status()["state"] == "ready" and not up.status()["reason"])
    tell("an image is deleted", "503 with the reason", f"failed: {status['reason']}", took)


def test_the_namespace_is_deleted(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    one = ("get", "namespace", kubectl.namespace, "--output=jsonpath={.metadata.uid}")
    before = kubectl.run(*one)
    with steady_load(up.url, ledger) as load:
        time.sleep(1)
        begun = time.monotonic()
        kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")
        seconds_until(lambda: kubectl.run(*one, check=False) not in {"", before}, 90)
        made = time.monotonic()
        # Load that came meanwhile may have made more of them.
        seconds_until(lambda: load.well_since(made) and up.status()["ready"] >= 2, 60)
        took = time.monotonic() - begun
    # Requests wait for the pods, or are told that there are none yet.
    assert all(each.said.startswith("503 ") for each in load.faults), load.summary()
    assert not load.doubled
    assert not up.status()["failures"], up.status()
    said = f"starting, then ready; the namespace was there again after {made - begun:.0f} s"
    tell("the namespace is deleted", load.summary(), said, took)


@pytest.mark.timeout(240)
def test_credentials_that_expire(  # noqa: PLR0917 - one for each part that it needs
    tmp_path: Path,
    engine_cli: EngineCli,
    behave: str,
    kubectl: Kubectl,
    ledger: Ledger,
    cluster: str,
) -> None:
    account = "short-lived"
    kubectl.run("create", "namespace", kubectl.namespace)

    def token() -> dict[str, str]:
        kubectl.run("create", "serviceaccount", account)
        return {"token": kubectl.run("create", "token", account).strip()}

    kubectl.run(
        *("create", "clusterrolebinding", kubectl.namespace, "--clusterrole=cluster-admin"),
        f"--serviceaccount={kubectl.namespace}:{account}",
    )
    copy = cluster_copy(cluster, tmp_path, user=token())
    on_cluster(tmp_path, kubectl.namespace, kubeconfig=str(copy))
    up = Up(tmp_path, engine_cli, environment=os.environ)
    try:
        up.start()
        options = ("--min", "2", "--max", "4", "--env", ledger.option)
        up.run("register", "behave", "2", behave, "--env", ledger.option)
        up.run("sleep", "behave:2")
        up.run("register", "behave", "1", behave, *options)
        up.run("traffic", "behave", "1=100")
        assert until(lambda: up.status()["ready"] == 2)
        with steady_load(up.url, ledger) as load:
            # Its tokens are worth nothing from now on.
            kubectl.run("delete", "serviceaccount", account)
            time.sleep(12)  # for so long, the API server remembers what it accepted
            kubectl.run("delete", "pod", kubectl.live_pods()[0], "--wait=false")
            refused = up.run("register", "behave", "3", behave, check=False)
            assert refused.returncode == 1
            assert "does not accept the credentials" in refused.stderr
            up.run("wake", "behave:2", "--no-wait")
            assert until(lambda: "credentials" in up.status(version="2")["reason"]), up.status(
                version="2"
            )
            said = up.status(version="2")["reason"]
            assert up.status()["state"] == "ready"
            cluster_copy(cluster, tmp_path, user=token())
            took = seconds_until(lambda: up.status(version="2")["ready"] == 1, 90)
            assert until(lambda: up.status()["ready"] == 2)
        load.assert_spotless()
        assert "credentials" not in up.status(version="2")["reason"]
        assert up.status(version="2")["failures"] == 0
        tell("credentials expire", load.summary(), f"of a version that is woken: {said}", took)
    finally:
        up.clean_up()
        kubectl.run("delete", "clusterrolebinding", kubectl.namespace)
