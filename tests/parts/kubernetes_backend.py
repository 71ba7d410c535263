"""Backends on a real cluster, and kubectl to look at it from outside."""

import json
import os
import subprocess
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from longshore.core.settings import Settings
from longshore.plugins.kubernetes.backend import KubernetesBackend
from longshore.plugins.kubernetes.settings import KubernetesSettings


class Kubectl:
    """The kubectl program on one namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str, check: bool = True, given: str = "") -> str:
        """Run a command and return what it prints."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *what: str) -> Any:
        """Return objects as the API has them."""
        return json.loads(self.run("get", *what, "--output=json"))

    def names(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return [each["metadata"]["name"] for each in self.get(kind)["items"]]

    def apply(self, manifest: dict[str, Any]) -> None:
        """Let the cluster have an object."""
        self.run("apply", "--filename=-", given=json.dumps(manifest))


class KubernetesBackends:
    """Makes backends that leave nothing behind."""

    def __init__(self, state: Path, namespace: str, stack: AsyncExitStack) -> None:
        self.installation = str(uuid.uuid4())
        self.namespace = namespace
        self._state = state
        self._stack = stack

    async def open(
        self, installation: str = "", *, platform: Settings | None = None, **settings: object
    ) -> KubernetesBackend:
        """Open a backend on the cluster."""
        backend = KubernetesBackend(
            platform or Settings(state=self._state),
            KubernetesSettings.model_validate(
                {"namespace": self.namespace, "drain": 1, **settings}
            ),
            environment=os.environ,
        )
        self._stack.push_async_callback(backend.close, stop_workloads=True)
        await backend.open(installation or self.installation)
        return backend
