"""Backends on a real cluster, and other ways to reach it."""

import json
import os
import subprocess
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from longshore.core.settings import Settings
from longshore.plugins.kubernetes.backend import KubernetesBackend
from longshore.plugins.kubernetes.settings import KubernetesSettings


def _view(kubeconfig: str) -> dict[str, Any]:
    command = ["kubectl", "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    done = subprocess.run(
        [*command, f"--kubeconfig={kubeconfig}"], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cluster_address(kubeconfig: str) -> tuple[str, int]:
    """Return host and port of the API server."""
    server = urlsplit(_view(kubeconfig)["clusters"][0]["cluster"]["server"])
    assert server.hostname
    return server.hostname, server.port or 443


def cluster_copy(
    kubeconfig: str, directory: Path, *, port: int = 0, user: dict[str, Any] | None = None
) -> Path:
    """Write a kubeconfig that leads to the same cluster another way, or as another user.

    Args:
        kubeconfig: of the cluster.
        directory: where to write it.
        port: of something on loopback that passes on to the API server.
        user: the credentials, instead of those that the file has.
    """
    content = _view(kubeconfig)
    if port:
        where = content["clusters"][0]["cluster"]
        where["tls-server-name"] = cluster_address(kubeconfig)[0]
        where["server"] = f"https://127.0.0.1:{port}"
    if user is not None:
        content["users"][0]["user"] = user
    copy = directory / "kubeconfig"
    copy.write_text(json.dumps(content))
    return copy


class KubernetesBackends:
    """Makes backends that leave nothing behind."""

    def __init__(self, state: Path, namespace: str, stack: AsyncExitStack) -> None:
        self.installation = str(uuid.uuid4())
        self.namespace = namespace
        self._state = state
        self._stack = stack

    async def open(
        self,
        installation: str = "",
        *,
        platform: Settings | None = None,
        to_read: bool = False,
        to_report: bool = False,
        **settings: object,
    ) -> KubernetesBackend:
        """Open a backend on the cluster; only to read as a router does, or to report a node."""
        backend = KubernetesBackend(
            platform or Settings(state=self._state),
            KubernetesSettings.model_validate(
                {"namespace": self.namespace, "drain": 1, **settings}
            ),
            environment=os.environ,
        )
        self._stack.push_async_callback(backend.close, stop_workloads=True)
        if to_report:
            await backend.open_to_report()
        else:
            opened = backend.open_to_read if to_read else backend.open
            await opened(installation or self.installation)
        return backend
