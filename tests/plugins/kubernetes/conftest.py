"""A backend on a real cluster, in a namespace of its own."""

import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from parts.kubernetes_backend import Kubectl, KubernetesBackends

from longshore.plugins.kubernetes.backend import KubernetesBackend


@pytest.fixture(scope="session")
def cluster() -> str:
    """The kubeconfig of a cluster that answers."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        pytest.skip("KUBECONFIG names no cluster")
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    command = ["kubectl", "--request-timeout=10s", "get", "--raw=/readyz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the cluster of {kubeconfig} does not answer: {done.stderr.strip()}")
    return kubeconfig


@pytest.fixture
def kubectl(cluster: str) -> Iterator[Kubectl]:
    kubectl = Kubectl(f"longshore-test-{uuid.uuid4().hex[:8]}")
    yield kubectl
    kubectl.run("delete", "namespace", kubectl.namespace, "--ignore-not-found", "--wait=false")


@pytest_asyncio.fixture
async def backends(tmp_path: Path, kubectl: Kubectl) -> AsyncIterator[KubernetesBackends]:
    async with AsyncExitStack() as stack:
        yield KubernetesBackends(tmp_path / "state", kubectl.namespace, stack)


@pytest_asyncio.fixture
async def backend(backends: KubernetesBackends) -> KubernetesBackend:
    return await backends.open()
