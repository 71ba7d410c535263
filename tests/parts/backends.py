"""Ways to watch what any backend does, and what its tests share."""

import asyncio
import base64
import urllib.request
from collections.abc import Callable
from typing import Protocol

from longshore.core.names import VersionKey
from longshore.core.protocols import Backend
from longshore.core.types import Replica, ReplicaState, Workload

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


async def replicas(backend: Backend, key: VersionKey = IRIS) -> tuple[Replica, ...]:
    """Return what the backend has of a version now."""
    return next((each.replicas for each in await backend.list() if each.key == key), ())


async def eventually(
    backend: Backend,
    condition: Callable[[tuple[Replica, ...]], object],
    *,
    key: VersionKey = IRIS,
    within: float = 30,
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


Build = Callable[..., Workload]
"""Makes the workload of a test from the fields in which it differs from a simple one."""


class AnyBackends(Protocol):
    """Makes backends that leave nothing behind."""

    installation: str

    async def open(self, installation: str = "") -> Backend:
        """Open another backend on the same engine or cluster."""
