"""The chart on a real cluster: installed, used, upgraded and taken away, as an operator does."""

import base64
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from parts import tcp_proxy
from parts.aggregated import GROUP, own_address
from parts.helm import REPOSITORY, Helm, HelmMissing, find_helm
from parts.kubectl import Kubectl
from parts.platform import LONGSHORE, until
from parts.postgres import Postgres

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

INSTALL = """\
kubectl create namespace longshore
kubectl label namespace longshore pod-security.kubernetes.io/enforce=restricted
helm install longshore deploy/helm/longshore --namespace longshore --values values.yaml --wait
"""
UPGRADE = """\
helm upgrade longshore deploy/helm/longshore --namespace longshore --values values.yaml --wait
"""
UNINSTALL = """\
helm uninstall longshore --namespace longshore --wait
"""

OF_THE_CLUSTER = {"kube-root-ca.crt", "openshift-service-ca.crt", "default"}
"""What each namespace has of the cluster's own."""
KINDS = (
    "deployments,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,"
    "poddisruptionbudgets,networkpolicies,endpointslices"
)


@pytest.fixture
def ways(cluster: str, postgres: Postgres, registry: str) -> Iterator[tuple[str, int, list[str]]]:
    """What a sidecar needs for this machine's loopback to be that of its pod, too.

    Database, registry and perhaps the API server listen there alone.
    """
    shown = ["kubectl", "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster}"]
    done = subprocess.run(shown, capture_output=True, text=True, check=True)
    server = urlsplit(json.loads(done.stdout)["server"])
    if server.hostname != "127.0.0.1":
        pytest.skip("the cluster's API server is elsewhere; the test's registry is not")
    api = server.port or 443
    here = own_address()
    ports = [postgres.port, int(registry.rpartition(":")[2]), api]
    command = [sys.executable, tcp_proxy.__file__]
    with subprocess.Popen(
        [*command, *(f"{here}:{each}=127.0.0.1:{each}" for each in ports)]
    ) as passing:
        yield here, api, [f"127.0.0.1:{each}={here}:{each}" for each in ports]
        passing.kill()


@pytest.fixture
def values(
    ways: tuple[str, int, list[str]], postgres: Postgres, platform_image: str
) -> dict[str, Any]:
    _, api, pairs = ways
    repository, _, tag = platform_image.rpartition(":")
    sidecar = {
        "name": "loopback",
        "image": platform_image,
        "command": ["python3", "-c", Path(tcp_proxy.__file__).read_text(), *pairs],
    }
    return {
        "image": {"repository": repository, "tag": tag},
        "database": {"url": postgres.new_database().replace("+psycopg", "")},
        # The cluster may have neither DNS nor a way to its Services.
        "env": [
            {"name": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1"},
            {"name": "KUBERNETES_SERVICE_PORT", "value": str(api)},
        ],
        "controller": {"sidecars": [sidecar], "resources": {"requests": {"cpu": "20m"}}},
        "router": {"sidecars": [sidecar], "resources": {"requests": {"cpu": "20m"}}},
        "kubernetes": {"drain": 2},
    }


@pytest.fixture
def operator(
    kubectl: Kubectl, values: dict[str, Any], tmp_path: Path
) -> Iterator[Callable[[str], str]]:
    """Runs commands of the page, in a namespace of the test's and with its values."""
    try:
        helm = find_helm()
    except HelmMissing as missing:
        pytest.skip(str(missing))
    if kubectl.run("get", "apiservice", f"v1beta1.{GROUP}", "--ignore-not-found"):
        pytest.skip("the cluster's external metrics are served by somebody else")
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))

    def run(commands: str) -> str:
        ours = commands.replace("values.yaml", str(file))
        ours = ours.replace("namespace longshore", f"namespace {kubectl.namespace}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", ours],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": f"{Path(helm).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr + pods_tell(kubectl)
        return done.stdout

    yield run
    Helm(kubectl.namespace, {}).run("uninstall", "longshore", "--ignore-not-found", given=False)


class Installed:
    """An installation, as its users see it."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self.key = self._secret("longshore-api-key", "api-key")
        self.certificate = self._secret("longshore-metrics", "tls.crt")

    def _secret(self, name: str, key: str) -> str:
        return base64.b64decode(self._kubectl.get("secret", name)["data"][key]).decode()

    @property
    def routers(self) -> list[str]:
        """URLs of those that are ready and stay."""
        found = self._kubectl.get("pods", "--selector=app.kubernetes.io/component=router")["items"]
        return [
            f"http://{each['status']['podIP']}:8000"
            for each in found
            if "deletionTimestamp" not in each["metadata"]
            for condition in each["status"]["conditions"]
            if condition["type"] == "Ready" and condition["status"] == "True"
        ]

    def longshore(self, *arguments: str) -> str:
        """Run a client command against one of the routers."""
        variables = {"LONGSHORE_URL": self.routers[0], "LONGSHORE_API_KEY": self.key}
        done = subprocess.run(
            [str(LONGSHORE), *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def predict(self, router: str, key: str | None = None) -> tuple[int, str]:
        """Return how a router answers."""
        answer = httpx.post(
            f"{router}/v1/models/behave/predict",
            content="[1]",
            headers={"authorization": f"Bearer {self.key if key is None else key}"},
            timeout=30,
            trust_env=False,
        )
        return answer.status_code, answer.text

    def serves(self, router: str) -> bool:
        """Return whether a router carries predictions."""
        return self.predict(router) == (200, "[1]")


def pods_tell(kubectl: Kubectl) -> str:
    """Return what may be wrong, for whoever reads a failure."""
    logs = ("logs", "--selector=app.kubernetes.io/name=longshore", "--all-containers", "--tail=30")
    return kubectl.run("get", "pods", "--output=wide") + kubectl.run(*logs, check=False)


def test_from_installing_to_nothing_left(
    operator: Callable[[str], str], kubectl: Kubectl, values: dict[str, Any], behave: str
) -> None:
    assert "rollout status" in operator(INSTALL)
    installed = Installed(kubectl)
    before = installed.routers
    assert len(before) == 2
    installed.longshore("register", "behave", "1", behave)
    for router in before:
        assert until(functools.partial(installed.serves, router))
    assert installed.predict(router, key="another")[0] == 401
    # What the controllers serve reaches autoscalers by the API server.
    metrics = f"--raw=/apis/{GROUP}/v1beta1"
    assert until(
        lambda: "longshore_requests_in_flight" in kubectl.run("get", metrics, check=False), 60
    ), kubectl.run("describe", "apiservice", f"v1beta1.{GROUP}")

    operator(UPGRADE.replace("--wait", "--set router.replicas=3 --set settings.max_body=9 --wait"))
    again = Installed(kubectl)
    assert (again.key, again.certificate) == (installed.key, installed.certificate)
    assert len(again.routers) == 3
    assert not set(again.routers) & set(before)
    for router in again.routers:
        assert until(functools.partial(again.serves, router))

    again.longshore("delete", "behave:1")
    ours = ["longshore-controller", "longshore-router"]
    assert until(lambda: kubectl.names("deployments") == ours)
    operator(UNINSTALL)
    assert until(lambda: set(kubectl.names(KINDS)) <= OF_THE_CLUSTER, 90), kubectl.names(KINDS)
    everywhere = kubectl.names("clusterroles,clusterrolebindings,apiservices")
    assert not [each for each in everywhere if kubectl.namespace in each or GROUP in each]
    there = Kubectl("kube-system").names("rolebindings")
    assert not [each for each in there if kubectl.namespace in each]
