"""Backends on a real container engine, and ways to watch what they do."""

import asyncio
import base64
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from longshore.core.names import VersionKey
from longshore.core.settings import Settings
from longshore.core.types import Replica, ReplicaState
from longshore.plugins.engine.backend import EngineBackend

IRIS = VersionKey("iris", "1")

LOGIN = ("robot", "a-secret")
"""User and password of the private registry."""

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


def pinned(reference: str, login: tuple[str, str] | None = None) -> str:
    """Return an image of a plain HTTP registry by its digest."""
    host, _, rest = reference.partition("/")
    path, _, tag = rest.rpartition(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{path}/manifests/{tag}", headers={"Accept": MANIFESTS}, method="HEAD"
    )
    if login:
        secret = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http, as above
        return f"{host}/{path}@{answer.headers['Docker-Content-Digest']}"


class Backends:
    """Makes backends that leave nothing behind."""

    def __init__(self, settings: Settings, socket: Path, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.installation = str(uuid.uuid4())
        self._socket = socket
        self._stack = stack

    async def open(
        self,
        installation: str = "",
        *,
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> EngineBackend:
        """Open a backend on the common engine, or on the one that an environment leads to."""
        backend = EngineBackend(
            settings or self.settings,
            socket=str(self._socket) if environment is None else None,
            environment=environment or {},
        )
        self._stack.push_async_callback(backend.close, stop_workloads=True)
        await backend.open(installation or self.installation)
        return backend


async def replicas(backend: EngineBackend, key: VersionKey = IRIS) -> tuple[Replica, ...]:
    """Return what the backend has of a version now."""
    return next((each.replicas for each in await backend.list() if each.key == key), ())


async def eventually(
    backend: EngineBackend,
    condition: Callable[[tuple[Replica, ...]], object],
    *,
    key: VersionKey = IRIS,
    within: float = 20,
) -> tuple[Replica, ...]:
    """Look at a version until its replicas are as wished, and return them."""
    found: tuple[Replica, ...] = ()
    try:
        async with asyncio.timeout(within):
            while True:
                found = await replicas(backend, key)
                if condition(found):
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s; last seen: {found}") from None


def ready(found: tuple[Replica, ...]) -> bool:
    """Whether there are replicas, all ready."""
    return bool(found) and all(each.state is ReplicaState.READY for each in found)


def exited(found: tuple[Replica, ...]) -> bool:
    """Whether there are replicas, all ended."""
    return bool(found) and all(each.state is ReplicaState.EXITED for each in found)
