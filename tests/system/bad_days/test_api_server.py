"""The API server itself is stopped, and started again after a minute."""

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from parts.kubectl import Kubectl
from parts.platform import Up, until
from parts.steady_load import A_SECOND, Ledger, steady_load
from parts.stopwatch import seconds_until, tell

pytestmark = pytest.mark.kubernetes

STOP, START = "TEST_APISERVER_STOP", "TEST_APISERVER_START"
AWAY = 60
"""Seconds."""


class ApiServer:
    """Stops and starts the cluster's API server by the commands that the environment names."""

    def __init__(self, stop: str, start: str) -> None:
        self._stop, self._start = stop, start

    def stop(self) -> None:
        subprocess.run(["bash", "-c", self._stop], check=True, timeout=60)

    def start(self) -> None:
        subprocess.run(["bash", "-c", self._start], check=True, timeout=60)


def nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Kubectl("default").get("nodes")["items"]
    return found


@pytest.fixture
def api_server(cluster: str) -> Iterator[ApiServer]:
    missing = [name for name in (STOP, START) if name not in os.environ]
    if missing:
        pytest.skip(f"no command to stop and start the API server: set {' and '.join(missing)}")
    server = ApiServer(os.environ[STOP], os.environ[START])
    yield server
    server.start()
    assert until(lambda: Kubectl("default").run("get", "--raw=/readyz", check=False) == "ok", 60)
    # Nodes that could not be heard meanwhile count as lost for some moments, and take no pods.
    assert until(lambda: not any(node["spec"].get("taints") for node in nodes()), 60)


def reason(up: Up) -> str:
    """Return what the version's status says."""
    return str(up.status()["reason"])


def away(up: Up) -> bool:
    """Return whether the status says that the API does not answer."""
    return "the Kubernetes API does not answer" in reason(up)


@pytest.mark.timeout(300)
def test_the_api_server_is_away_for_a_minute(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger, api_server: ApiServer
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    before = kubectl.live_pods()
    with steady_load(up.url, ledger) as load:
        stopped = time.monotonic()
        api_server.stop()
        seconds_until(lambda: away(up), 30)
        assert reason(up).startswith("backend kubernetes does not answer: ")
        assert up.status()["state"] == "ready"
        time.sleep(stopped + AWAY - time.monotonic())
        assert away(up)
        api_server.start()
        took = seconds_until(lambda: not away(up) and up.status()["ready"] == 2)
        time.sleep(5)
    load.assert_spotless()
    assert len(load.answers) > A_SECOND * AWAY
    assert kubectl.live_pods() == before
    # It does as it is told again.
    up.run("delete", "behave:1")
    assert until(lambda: not kubectl.names("deployments"))
    said = "ready: backend kubernetes does not answer: the Kubernetes API does not answer"
    tell("the API server is away for 60 s", load.summary(), said, took)


@pytest.mark.timeout(300)
def test_a_pod_dies_while_the_api_server_is_away(
    kubernetes_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger, api_server: ApiServer
) -> None:
    up = kubernetes_up
    up.run("register", "behave", "1", behave, "--min", "2", "--max", "4", "--env", ledger.option)
    assert until(lambda: up.status()["ready"] == 2)
    api_server.stop()
    assert until(lambda: away(up))
    with steady_load(up.url, ledger) as load:
        time.sleep(1)
        died = time.monotonic()
        fatal = up.get("/v1/models/behave/versions/1/raw/die?when=before")
        assert fatal.status_code == httpx.codes.BAD_GATEWAY
        assert until(lambda: load.well_since(died))
        took = time.monotonic() - died
        time.sleep(10)
    # Only what had reached the process may have died with it.
    assert all(each.outcome == "failed" for each in load.faults), load.summary()
    assert len(load.faults) <= 3, load.summary()
    assert all(each.at - died < 1 for each in load.faults)
    assert not load.doubled
    api_server.start()
    assert until(lambda: not away(up) and up.status()["ready"] == 2, 60)
    tell("a pod dies meanwhile", load.summary(), "ready, as above", took)
