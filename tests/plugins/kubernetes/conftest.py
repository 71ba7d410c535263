"""A backend on a real cluster, in a namespace of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio
from parts.kubectl import Kubectl
from parts.kubernetes_backend import KubernetesBackends

from longshore.plugins.kubernetes.backend import KubernetesBackend


@pytest_asyncio.fixture
async def backends(tmp_path: Path, kubectl: Kubectl) -> AsyncIterator[KubernetesBackends]:
    async with AsyncExitStack() as stack:
        yield KubernetesBackends(tmp_path / "state", kubectl.namespace, stack)


@pytest_asyncio.fixture
async def backend(backends: KubernetesBackends) -> KubernetesBackend:
    return await backends.open()
