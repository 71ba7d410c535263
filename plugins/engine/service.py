"""Podman's service, started and stopped by Longshore where no engine listens."""

import asyncio
import contextlib
import hashlib
import logging
import os
import resource
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from longshore.core.errors import StartRefused

log = logging.getLogger(__name__)

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0

LONGEST_PATH = 107
"""Bytes that a Unix socket's address has for the path."""

_CAP_SYS_RESOURCE = 24


class PodmanService:
    """``podman system service`` with a socket of ours.

    Killed with Longshore or not, it is known by its socket: the next start finds and reuses it.

    Args:
        program: path of podman.
        state: Longshore's state directory.
        environment: the process's variables.
    """

    def __init__(self, program: str, state: Path, environment: Mapping[str, str]) -> None:
        self.socket = socket_path(state)
        self._program = program
        self._state = state.absolute()
        self._environment = environment
        self._child: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Have it answer; if it does already, return at once.

        Raises:
            StartRefused: it did not come up, and its own words on that.
        """
        async with self._starting:
            if not answers(self.socket):
                await self._start()

    async def stop(self) -> None:
        """Stop it, whoever started it; containers go on. If none runs, return silently."""
        pid = listener(self.socket)
        if pid:
            await _end(pid)
        if self._child:
            if self._child.returncode is None:
                # Its socket may have been removed from under it.
                await _end(self._child.pid)
            await self._child.wait()
            self._child = None
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self._state:
            # A folder that is there for the socket alone.
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()

    async def _start(self) -> None:
        if self._child and self._child.returncode is None:
            # It lives without answering; two would fight over the socket.
            self._child.kill()
        if self._child:
            await self._child.wait()
        self.socket.unlink(missing_ok=True)
        record = self._state / "podman-service.log"
        with record.open("w") as output:
            self._child = await asyncio.create_subprocess_exec(
                self._program,
                "system",
                "service",
                "--time=0",
                f"unix://{self.socket}",
                env={**self._environment, **self._configuration()},
                # Podman's helpers leave a file here when a container runs out of memory.
                cwd=self._state,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for Longshore, which stops it after the containers.
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not answers(self.socket) and self._child.returncode is None:  # noqa: ASYNC110 - another process's socket sets no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self._child.kill()
        if not answers(self.socket):
            words = record.read_text(errors="replace").strip()[-500:]
            raise StartRefused(
                f"podman system service did not come up: {words or 'it said nothing'}",
                hint="Try it by hand: podman system service --time=0, and podman info.",
            )
        log.info("started podman's service at %s", self.socket)

    def _configuration(self) -> dict[str, str]:
        """Return variables that name a configuration of ours, where podman's own cannot work."""
        if "CONTAINERS_CONF" in self._environment:
            return {}
        content = containers_conf(
            may_raise_limits=os.geteuid() != 0 or _has_capability(_CAP_SYS_RESOURCE),
            hard_limits=_hard_limits(),
            needs_runc=bool(
                not Path("/sys/fs/cgroup/cgroup.controllers").exists() and shutil.which("runc")
            ),
        )
        if not content:
            return {}
        path = self._state / "containers.conf"
        path.write_text(content)
        return {"CONTAINERS_CONF": str(path)}


def containers_conf(
    *, may_raise_limits: bool, hard_limits: Mapping[str, int], needs_runc: bool
) -> str:
    """Return the content of a containers.conf; empty where podman's defaults work.

    Args:
        may_raise_limits: podman may give containers higher limits than this process has.
        hard_limits: those that podman runs under.
        needs_runc: crun would refuse this machine's cgroups, and runc is there.
    """
    lines = []
    if not may_raise_limits:
        shown = ", ".join(f'"{name}={limit}:{limit}"' for name, limit in hard_limits.items())
        lines += ["[containers]", f"default_ulimits = [{shown}]"]
    if needs_runc:
        lines += ["[engine]", 'runtime = "runc"']
    return "".join(f"{line}\n" for line in lines)


def socket_path(state: Path) -> Path:
    """Return where the service listens: in the state directory, or where the path is shorter."""
    path = state.absolute() / "podman.sock"
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"longshore-{os.getuid()}-{digest}")
    if len(os.fsencode(folder / path.name)) > LONGEST_PATH:
        # TMPDIR may be as long; this one is everywhere.
        folder = Path("/tmp", folder.name)  # noqa: S108 - whose it is, is checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    # Whoever owns the folder could give us an engine of theirs.
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StartRefused(
            f"{folder} belongs to somebody else", hint="Name a shorter directory with --state."
        )
    return folder / path.name


def answers(path: Path) -> bool:
    """Return whether somebody listens at a Unix socket."""
    return listener(path) is not None


def listener(path: Path) -> int | None:
    """Return the process that listens at a Unix socket; None if nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
            credentials = probe.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
        except OSError:
            return None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


async def _end(pid: int) -> None:
    for step in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, step)
            async with asyncio.timeout(STOP_TIMEOUT):
                while _runs(pid):  # noqa: ASYNC110 - nor does its end, if it is no child
                    await asyncio.sleep(0.05)
        except ProcessLookupError:
            return
        except TimeoutError:
            continue
        return


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _hard_limits() -> dict[str, int]:
    """Return the limits that podman will have, which are lower than ours where it lowers them."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most_files = int(Path("/proc/sys/fs/nr_open").read_text())
    most_processes = int(Path("/proc/sys/kernel/pid_max").read_text())
    return {
        "nofile": most_files if files == resource.RLIM_INFINITY else files,
        "nproc": most_processes
        if processes == resource.RLIM_INFINITY
        else min(processes, most_processes),
    }


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
