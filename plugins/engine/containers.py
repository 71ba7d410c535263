"""A workload as a container's configuration, and an inspected container as plain facts. Pure.

All that is needed to go on with a container after Longshore was killed stands in its labels.
"""

import re
import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from longshore.core.names import VersionKey
from longshore.core.types import Address, Workload
from longshore.plugins.engine.gpus import GPUS

OWNER = "io.longshore.owner"
STATE = "io.longshore.state"
MODEL = "io.longshore.model"
VERSION = "io.longshore.version"
FINGERPRINT = "io.longshore.fingerprint"
PORT = "io.longshore.port"
HEALTH_PATH = "io.longshore.health-path"
HEALTH_REQUIRED = "io.longshore.health-required"
STARTUP = "io.longshore.startup"
WRITABLE_ROOT = "io.longshore.writable-root"
"""Why the root file system is writable; absent where it is read-only."""

KEPT = "-asleep"
"""How the name of a container ends that is kept for the next wake of its version.

A label could not be taken off again. A name outlives Longshore and the engine, and shows in the
engine's own list; one that somebody else paused, or that was stopped by a crash, has no such name.
"""

STOP_GRACE = 30
"""Seconds from the request to stop until the kill."""

MOST_PROCESSES = 4096
LOOPBACK = "127.0.0.1"

_LIVING = frozenset({"running", "paused", "restarting", "stopping"})
_UNSTARTED = frozenset({"created", "configured", "initialized"})
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_NEVER = 1
"""The year that engines write for what did not happen."""


def container_name(key: VersionKey) -> str:
    """Return a new name that people can read: ``longshore-iris-1-x7k2``."""
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"longshore-{key.name}-{key.version}-{suffix}"


def key_labels(owner: str, key: VersionKey) -> dict[str, str]:
    """Return the labels that all containers of a version carry."""
    return {OWNER: owner, MODEL: key.name, VERSION: key.version}


def container_config(
    workload: Workload, *, owner: str, state: Path, writable_because: str, init: bool
) -> dict[str, Any]:
    """Return what to create for one replica, in the words of Docker's API.

    Args:
        workload: what to run.
        owner: id of this installation.
        state: Longshore's state directory; tells people whose container it is.
        writable_because: why the root file system is writable; empty leaves it read-only.
        init: put the engine's own process 1 before the image's, to reap what it leaves.
    """
    port = f"{workload.port}/tcp"
    labels = {
        **workload.labels,
        **key_labels(owner, workload.key),
        STATE: str(state.absolute()),
        FINGERPRINT: workload.fingerprint,
        PORT: str(workload.port),
        HEALTH_PATH: workload.health_path,
        HEALTH_REQUIRED: "true" if workload.health_required else "false",
        STARTUP: f"{workload.startup:g}",
    }
    host: dict[str, Any] = {
        "PortBindings": {port: [{"HostIp": LOOPBACK, "HostPort": ""}]},
        "ReadonlyRootfs": not writable_because,
        # Executable, because compilers at run time (numba, JNA) load what they put there.
        "Tmpfs": {
            "/tmp": "rw,exec,nosuid,nodev,mode=1777",  # noqa: S108 - inside the container
            "/var/tmp": "rw,exec,nosuid,nodev,mode=1777",  # noqa: S108 - inside the container
            "/run": "rw,exec,nosuid,nodev,mode=755",
        },
        "CapDrop": ["ALL"],
        "PidsLimit": MOST_PROCESSES,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
    }
    if init:
        host["Init"] = True
    security = workload.security
    options = [] if security.privilege_escalation else ["no-new-privileges"]
    if security.seccomp_unconfined:
        options.append("seccomp=unconfined")
    host["SecurityOpt"] = options
    if security.capabilities:
        host["CapAdd"] = list(security.capabilities)
    if writable_because:
        labels[WRITABLE_ROOT] = writable_because
    if workload.memory_mib is not None:
        # As much with swap as without: a model that swaps answers nobody.
        host["Memory"] = host["MemorySwap"] = workload.memory_mib << 20
    if workload.cpu_millicores is not None:
        host["NanoCpus"] = workload.cpu_millicores * 1_000_000
    if workload.gpu_count:
        host["DeviceRequests"] = [
            {"Driver": "nvidia", "Count": workload.gpu_count, "Capabilities": [["gpu"]]}
        ]
    config: dict[str, Any] = {
        "Image": workload.image,
        "Env": [f"{name}={value}" for name, value in workload.env.items()],
        "Labels": labels,
        "ExposedPorts": {port: {}},
        "StopTimeout": STOP_GRACE,
        "HostConfig": host,
    }
    if workload.command is not None:
        config["Cmd"] = list(workload.command)
    if security.run_as is not None:
        config["User"] = str(security.run_as)
    return config


@dataclass(frozen=True, slots=True)
class Listed:
    """A container as the engine lists it; one that has another ``look`` must be inspected again."""

    id: str
    name: str
    key: VersionKey
    fingerprint: str
    status: str
    public_port: int | None

    @property
    def look(self) -> tuple[str, int | None]:
        """What a list shows of a container's life."""
        return self.status, self.public_port

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self.status in _LIVING

    @property
    def kept(self) -> bool:
        """Whether it is kept for its version's next wake, and is no replica."""
        return self.name.endswith(KEPT)

    @property
    def frozen(self) -> bool:
        """Whether it was paused."""
        return self.status == "paused"

    @property
    def unstarted(self) -> bool:
        """Whether it was created and never started: a start was cut short."""
        return self.status in _UNSTARTED


def parse_listed(entry: Mapping[str, Any]) -> Listed | None:
    """Read an entry of the engine's list; None where our labels are incomplete."""
    labels = entry["Labels"]
    if not {MODEL, VERSION, FINGERPRINT, PORT} <= labels.keys():
        return None
    ports = [
        each["PublicPort"]
        for each in entry.get("Ports") or ()
        if each.get("PublicPort") and str(each.get("PrivatePort")) == labels[PORT]
    ]
    return Listed(
        id=entry["Id"],
        name=_name(entry["Names"][0]),
        key=VersionKey(labels[MODEL], labels[VERSION]),
        fingerprint=labels[FINGERPRINT],
        status=str(entry["State"]).lower(),
        public_port=ports[0] if ports else None,
    )


@dataclass(frozen=True, slots=True)
class Container:
    """What Longshore knows of one container."""

    id: str
    name: str
    key: VersionKey
    fingerprint: str
    lives: bool
    frozen: bool = field(compare=False)
    """Whether it is paused; it is the same container for that, and lives."""
    address: Address | None
    """Where it is published on this machine."""
    port: int
    """Where it should listen inside."""
    health_path: str
    health_required: bool
    startup: float
    read_only: bool
    writable_because: str
    memory_mib: int | None
    pid: int
    """Of its process 1, as the engine's machine counts; 0 when it does not run."""
    stop_signal: int
    started_at: datetime | None
    exit_code: int | None
    oom_killed: bool
    error: str
    """What the engine could not do for it."""
    program: str = ""
    """What runs in it: the first word of its entry point or command."""
    created_at: datetime | None = None
    """By then its image was there."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that were given to it."""
    gpu_count: int = 0
    """How many were asked for."""


def parse_container(inspected: Mapping[str, Any]) -> Container:
    """Read what the engine says of one of our containers."""
    config, host, state = inspected["Config"], inspected["HostConfig"], inspected["State"]
    labels = config["Labels"]
    lives = bool(state["Running"])
    return Container(
        id=inspected["Id"],
        name=_name(inspected["Name"]),
        key=VersionKey(labels[MODEL], labels[VERSION]),
        fingerprint=labels[FINGERPRINT],
        lives=lives,
        frozen=bool(state.get("Paused")),
        address=_address(inspected, labels[PORT]) if lives else None,
        port=int(labels[PORT]),
        health_path=labels.get(HEALTH_PATH, "/health"),
        health_required=labels.get(HEALTH_REQUIRED) == "true",
        startup=float(labels.get(STARTUP, "300")),
        read_only=bool(host.get("ReadonlyRootfs")),
        writable_because=labels.get(WRITABLE_ROOT, ""),
        memory_mib=(host.get("Memory") or 0) >> 20 or None,
        pid=state.get("Pid") or 0,
        stop_signal=_signal(config.get("StopSignal")),
        started_at=_time(state.get("StartedAt")),
        exit_code=None if lives else state.get("ExitCode"),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        created_at=_time(inspected.get("Created")),
        gpus=tuple(filter(None, labels.get(GPUS, "").split(","))),
        gpu_count=_gpus_asked_for(host),
        program=next(iter([*_words(config.get("Entrypoint")), *_words(config.get("Cmd"))]), ""),
    )


def _gpus_asked_for(host: Mapping[str, Any]) -> int:
    asked = host.get("DeviceRequests") or ()
    return sum(each.get("Count") or len(each.get("DeviceIDs") or ()) for each in asked)


def _words(given: str | Sequence[str] | None) -> Sequence[str]:
    # Podman gives an entry point as one string.
    return given.split() if isinstance(given, str) else given or ()


def _name(name: str) -> str:
    return name.removeprefix("/")


def _address(inspected: Mapping[str, Any], port: str) -> Address | None:
    published = (inspected["NetworkSettings"].get("Ports") or {}).get(f"{port}/tcp") or ()
    for each in published:
        if each.get("HostPort"):
            return Address(host=each.get("HostIp") or LOOPBACK, port=int(each["HostPort"]))
    return None


def _signal(given: object) -> int:
    text = str(given or "").upper()
    if text.isdecimal():
        return int(text)
    name = text if text.startswith("SIG") else f"SIG{text}"
    return int(getattr(signal, name, signal.SIGTERM))


def _time(text: str | None) -> datetime | None:
    """Read RFC 3339, of which engines write nanoseconds and a year 1 for never."""
    if not text:
        return None
    found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return found if found.year > _NEVER else None
