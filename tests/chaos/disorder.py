"""What goes wrong, or is changed, while requests come: one thing after the other, at random."""

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine_cli import EngineCli

BURST = 3.0
"""By how much the load grows for a while, so that the version is scaled."""


class Program:
    """One process of the platform, started again when it was killed.

    Args:
        command: what runs it.
        directory: where; with its log.
        environment: its variables.
    """

    def __init__(
        self, command: Sequence[str], directory: Path, environment: dict[str, str]
    ) -> None:
        self._command = command
        self._directory = directory
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def log(self) -> Path:
        """What it says, over all its lives."""
        return self._directory / "log"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._directory.mkdir(exist_ok=True)
        before = self.log.read_text().count(" listens on ") if self.log.exists() else 0
        with self.log.open("a") as output:
            self._process = subprocess.Popen(
                [*self._command, "--state", str(self._directory / "state")],
                stderr=output,
                cwd=self._directory,
                env=self._environment,
            )
        deadline = time.monotonic() + 60
        while self.log.read_text().count(" listens on ") == before:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.url = self.log.read_text().rpartition(" listens on ")[2].split()[0]

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)


@dataclass
class Platform:
    """What is put into disorder: two controllers and a router, on one database and engine."""

    controllers: Sequence[Program]
    router: Program
    engine: EngineCli
    owner: str
    """Id of the installation, which its containers carry."""
    service: "subprocess.Popen[bytes]"
    """Podman's, that all of them use."""
    image: str
    options: Sequence[str]
    """For each registration of a version of the model."""
    client: Callable[..., str]
    """Runs the command line against the router."""
    number: int = 1
    """Of the version that gets the requests."""

    @property
    def version(self) -> str:
        """That version."""
        return f"behave:{self.number}"


@dataclass
class Disorder:
    """Makes it, and counts.

    Args:
        platform: where.
        chance: the only source of chance, so that a run can be repeated.
        pace: requests a second while nothing else is wanted.
    """

    platform: Platform
    chance: random.Random
    pace: float
    counts: Counter[str] = field(default_factory=Counter)
    kills: dict[str, float] = field(default_factory=dict)
    """When each replica that was killed was so, on the monotonic clock; by its name."""
    factor: float = 1.0

    def rate(self) -> float:
        """Return how many requests a second there are to be now."""
        return self.pace * self.factor

    def run(self, seconds: float) -> None:
        """Make disorder for so long."""
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            kind = self.chance.choice(KINDS)
            self.counts[kind] += 1
            print(f"{time.monotonic():.2f} {kind}")
            getattr(self, kind)()
            time.sleep(self.chance.uniform(0.5, 3))

    def kill_a_replica(self) -> None:
        """Kill a container, in the midst of whatever it does."""
        found = self.platform.engine.run(
            *("ps", "--format", "{{.Names}}"),
            *("--filter", f"label=io.longshore.owner={self.platform.owner}"),
        ).split()
        if found:
            victim = self.chance.choice(found)
            with contextlib.suppress(subprocess.CalledProcessError):  # gone by itself
                self.platform.engine.run("kill", victim)
                self.kills[victim] = time.monotonic()

    def put_to_sleep(self) -> None:
        """Let a user put the version to sleep, while others call it."""
        self.platform.client("sleep", self.platform.version)

    def scale(self) -> None:
        """Let more requests come for a while, so that it takes more replicas."""
        self.factor = BURST
        time.sleep(4)
        self.factor = 1.0

    def update(self) -> None:
        """Let a new version take over, and delete the old one."""
        platform = self.platform
        old, platform.number = platform.version, platform.number + 1
        number = str(platform.number)
        platform.client("register", "behave", number, platform.image, *platform.options)
        platform.client("traffic", "behave", f"{number}=100")
        platform.client("delete", old)

    def kill_a_controller(self) -> None:
        """Kill one of the two controllers, be it the one that leads or not."""
        victim = self.chance.choice(self.platform.controllers)
        victim.kill()
        time.sleep(self.chance.uniform(0, 2))
        victim.start()

    def slow_the_engine(self) -> None:
        """Let the engine answer nobody for a while."""
        self.platform.service.send_signal(signal.SIGSTOP)
        try:
            time.sleep(self.chance.uniform(0.5, 3))
        finally:
            self.platform.service.send_signal(signal.SIGCONT)


KINDS = (
    "kill_a_replica",
    "kill_a_replica",
    "put_to_sleep",
    "scale",
    "update",
    "kill_a_controller",
    "slow_the_engine",
)
