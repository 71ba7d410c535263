"""The programs of a benchmark: started, pinned to cores, watched by /proc, and surely stopped."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN = 60.0
"""Seconds that a program may take until its port answers."""

STOPS_WITHIN = 10.0
"""Seconds that a program may take to end by itself before it is killed."""

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchFailed(Exception):
    """The benchmark cannot go on; the message says what to do."""


def need(program: str) -> str:
    """Return the path of a program.

    Raises:
        BenchFailed: it is not installed.
    """
    # Debian keeps servers where only root's PATH looks.
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise BenchFailed(f"{program} is not installed: apt-get install wrk nginx haproxy")
    return found


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where; both sets are empty where there is only one core to share."""

    proxy: frozenset[int]
    load: frozenset[int]

    @classmethod
    def shared_out(cls) -> "Cores":
        """Give the first core that we may use to the proxy under test, the others to the load."""
        first, *others = sorted(os.sched_getaffinity(0))
        if not others:
            return cls(frozenset(), frozenset())
        return cls(frozenset({first}), frozenset(others))

    def pair(self) -> "Cores":
        """Give two cores to the proxy under test; all may run anywhere where no third is there."""
        first, second, *others = [*sorted(self.proxy | self.load), -1, -1]
        free = frozenset(each for each in others if each >= 0)
        return Cores(frozenset({first, second}), free) if free else Cores(frozenset(), frozenset())

    def __str__(self) -> str:
        if not self.proxy:
            return "only one core is there, so nothing is pinned and all numbers are lower"
        load = ", ".join(map(str, sorted(self.load)))
        return f"proxy under test on core {min(self.proxy)}, load and backend on core {load}"


@dataclass(frozen=True, slots=True)
class Process:
    """A running program and its children, found by the session that it leads."""

    name: str
    popen: subprocess.Popen[str]
    log: Path

    @property
    def _members(self) -> list[Path]:
        return [each for each in Path("/proc").glob("[0-9]*") if self._session(each) == self.pid]

    @property
    def pid(self) -> int:
        """The id of the process, and of its session."""
        return self.popen.pid

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, in user and kernel mode."""
        fields = (_stat(each) for each in self._members)
        return sum(int(each[11]) + int(each[12]) for each in fields if each) / _TICKS

    def waited_seconds(self) -> float:
        """Return for how long it was ready to run and had to leave its core to others."""
        fields = (_words(each / "schedstat") for each in self._threads)
        return sum(int(each[1]) for each in fields if each) / 1e9

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Let no ordinary program take its core from it.

        Raises:
            PermissionError: that needs a right which this process has not.
        """
        try:
            self._schedule(os.SCHED_FIFO, 1)
            yield
        finally:
            self._schedule(os.SCHED_OTHER, 0)

    def _schedule(self, policy: int, priority: int) -> None:
        for each in self._threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(int(each.name), policy, os.sched_param(priority))

    @property
    def _threads(self) -> list[Path]:
        return [thread for each in self._members for thread in each.glob("task/*")]

    def rss_mib(self) -> float:
        """Return the resident memory."""
        return self._memory_mib("VmRSS")

    def peak_mib(self) -> float:
        """Return the most resident memory since ``forget_peak``."""
        return self._memory_mib("VmHWM")

    def forget_peak(self) -> None:
        """Let the peak begin anew; where the kernel cannot do that, it stays an upper bound."""
        for each in self._members:
            with contextlib.suppress(OSError):
                (each / "clear_refs").write_text("5")

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        if self.popen.stdin is None:
            raise BenchFailed(f"{self.name} was started without an ear")
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def hear(self) -> str:
        """Return the next line of its standard output, if it was started to talk.

        Raises:
            BenchFailed: there is none, for it ended.
        """
        line = self.popen.stdout.readline() if self.popen.stdout else ""
        if not line:
            raise BenchFailed(f"{self.name} has nothing to say")
        return line

    def stop(self) -> None:
        """End all of it, asking first."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(STOPS_WITHIN)
        for each in self._members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(each.name), signal.SIGKILL)
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def _memory_mib(self, name: str) -> float:
        kib = 0
        for each in self._members:
            with contextlib.suppress(OSError):
                lines = (each / "status").read_text().splitlines()
                kib += sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
        return kib / 1024

    @staticmethod
    def _session(process: Path) -> int:
        fields = _stat(process)
        return int(fields[3]) if fields else -1


def _stat(process: Path) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; none if the process is gone."""
    return _words(process / "stat", after=")")


def _words(file: Path, *, after: str = "") -> list[str]:
    """Return the words of a file of /proc; none if what it tells of is gone."""
    try:
        text = file.read_text()
    except OSError:
        return []
    return (text.rpartition(after)[2] if after else text).split()


@dataclass(frozen=True, slots=True)
class Programs:
    """Starts programs; each ends with its context.

    Args:
        scratch: an empty folder for configurations and logs.
        cores: who runs where.
    """

    scratch: Path
    cores: Cores

    @contextlib.contextmanager
    def running(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        *,
        cores: frozenset[int],
        talks: bool = False,
    ) -> Iterator[Process]:
        """Start a program, and wait until its port answers.

        Args:
            name: what to call it.
            command: program and arguments.
            port: where it will listen, on loopback.
            cores: where it may run; anywhere if empty.
            talks: keep its standard output for the caller to read; otherwise it is logged.

        Raises:
            BenchFailed: it ended or does not answer; with its last words.
        """
        log = self.scratch / f"{name.replace(' ', '-')}-{port}.log"
        with log.open("w") as output:
            answers = subprocess.PIPE if talks else output
            popen = subprocess.Popen(  # noqa: S603 - the commands are written in this folder
                [*pinning(cores), *command],
                # Those of ours end when this pipe does, even if we are killed.
                stdin=subprocess.PIPE,
                stdout=answers,
                stderr=output,
                text=True,
                cwd=self.scratch,
                # Ctrl-C reaches us alone, and we stop them in order.
                start_new_session=True,
            )
        process = Process(name, popen, log)
        try:
            _wait_for(process, port)
            yield process
        finally:
            process.stop()


@contextlib.contextmanager
def running_on(cores: frozenset[int]) -> Iterator[None]:
    """Keep this process, and what it starts unpinned, on these cores; on its own if empty."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pinning(cores: frozenset[int]) -> list[str]:
    """Return what to put before a command to keep it on these cores."""
    return [need("taskset"), "-c", ",".join(map(str, sorted(cores)))] if cores else []


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_for(process: Process, port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while process.popen.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    ended = process.popen.poll()
    what = f"ended with status {ended}" if ended is not None else "does not answer"
    raise BenchFailed(f"{process.name} {what}; its last words:\n{process.last_words()}")
