"""Finding the container engine that answers, or starting Podman's service."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from longshore.core.errors import LongshoreError, StartRefused, Unavailable
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.service import PodmanService

_GET_ONE = (
    "Install one (Debian: apt-get install podman runc catatonit netavark aardvark-dns iptables), "
    "start it, or name its socket in plugins.toml: socket of the plugin engine."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A socket where an engine may listen."""

    path: Path
    source: str
    """Who named it; empty for the usual places."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An engine that answered."""

    client: Client
    service: PodmanService | None
    """Podman's service, where Longshore runs it."""

    async def revive(self) -> bool:
        """Start the engine again if it is ours and died; return whether it is there again."""
        if self.service is None:
            return False
        try:
            await self.service.start()
        except LongshoreError:
            return False
        return True

    async def close(self) -> None:
        """Let go of the engine, and stop what was started for it."""
        await self.client.close()
        if self.service:
            await self.service.stop()


async def connect(named: str | None, state: Path, environment: Mapping[str, str]) -> Connection:
    """Connect to the first engine that answers.

    Args:
        named: socket from the settings.
        state: Longshore's state directory, for a service of its own.
        environment: the process's variables.

    Raises:
        StartRefused: none does, or the one that was named does not.
    """
    program = shutil.which("podman", path=environment.get("PATH"))
    refusals = []
    for candidate in candidates(named, environment, Path.home(), os.getuid()):
        if not candidate.source and not _is_socket(candidate.path):
            continue
        client = Client(candidate.path)
        try:
            await client.open()
        except Unavailable as error:
            await client.close()
            if candidate.source:
                raise StartRefused(f"{candidate.source}: {error.message}", hint=_GET_ONE) from error
            refusals.append(error.message)
        else:
            return Connection(client, None)
    if program is None:
        found = "; ".join(refusals) or "no socket of Docker or Podman, and no program podman"
        raise StartRefused(f"no container engine was found: {found}", hint=_GET_ONE)
    service = PodmanService(program, state, environment)
    client = Client(service.socket)
    try:
        await service.start()
        await client.open()
    except BaseException as error:
        # Ctrl-C included: nobody else knows of the service yet.
        await client.close()
        await service.stop()
        if isinstance(error, Unavailable):
            raise StartRefused(error.message, hint=_GET_ONE) from error
        raise
    return Connection(client, service)


def candidates(
    named: str | None, environment: Mapping[str, str], home: Path, user: int
) -> list[Candidate]:
    """Return where to look, in order; what somebody named leaves no other choice.

    Raises:
        StartRefused: what was named is no Unix socket.
    """
    for source, address in (
        ("socket of the plugin engine", named),
        ("DOCKER_HOST", environment.get("DOCKER_HOST")),
        ("CONTAINER_HOST", environment.get("CONTAINER_HOST")),
    ):
        if address:
            return [Candidate(_path(source, address), source)]
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    usual = (
        Path("/var/run/docker.sock"),
        home / ".docker/run/docker.sock",
        home / ".docker/desktop/docker.sock",
        runtime / "docker.sock",
        Path("/run/podman/podman.sock"),
        runtime / "podman/podman.sock",
    )
    return [Candidate(path, "") for path in usual]


def _path(source: str, address: str) -> Path:
    scheme, separator, rest = address.partition("://")
    path = Path(rest if separator else address)
    if (separator and scheme != "unix") or not path.is_absolute():
        raise StartRefused(
            f"{source}: {address!r} is no Unix socket of this machine",
            hint="Longshore publishes containers on this machine's loopback, so the engine must "
            "run here: write unix:///path/to/socket.",
        )
    return path


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except PermissionError:
        # Another user's engine, in a folder that is closed to us.
        return False
