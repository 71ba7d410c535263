"""Longshore installed in a cluster, and what a test needs to use it there."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from parts import tcp_proxy
from parts.aggregated import own_address
from parts.kubectl import Kubectl
from parts.platform import LONGSHORE
from parts.postgres import Postgres


@dataclass(frozen=True)
class Ways:
    """How a pod comes to database, registry and perhaps API server, which listen here alone."""

    api: int
    """Port of the API server."""
    pairs: tuple[str, ...]
    """What a proxy in the pod passes on."""

    def sidecar(self, image: str) -> dict[str, Any]:
        """Return a container that makes this machine's loopback that of its pod, too."""
        program = Path(tcp_proxy.__file__).read_text()
        return {
            "name": "loopback",
            "image": image,
            "command": ["python3", "-c", program, *self.pairs],
        }

    @property
    def environment(self) -> list[dict[str, str]]:
        """What containers need: the cluster may have neither DNS nor a way to its Services."""
        return [
            {"name": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1"},
            {"name": "KUBERNETES_SERVICE_PORT", "value": str(self.api)},
        ]


@contextmanager
def ways_here(postgres: Postgres, registry: str) -> Iterator[Ways]:
    """Let pods come to what listens on this machine's loopback alone, while the context is open.

    Skips the test where the cluster is another machine.

    Args:
        postgres: the database.
        registry: ``host:port``.
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
        yield Ways(api, tuple(f"127.0.0.1:{each}={here}:{each}" for each in ports))
        passing.kill()


class Installed:
    """An installation, as its users see it."""

    def __init__(self, kubectl: Kubectl, key_in: str = "longshore-api-key") -> None:
        self._kubectl = kubectl
        self.key = self._secret(key_in, "api-key")

    @property
    def certificate(self) -> str:
        """What metrics are served with."""
        return self._secret("longshore-metrics", "tls.crt")

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
