"""What goes wrong, or is changed, while requests come: one thing after the other, at random.

What depends on where replicas run is in ``on_engine`` and ``on_cluster``.
"""

import os
import random
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from chaos.verdict import Kill
from parts.platform import LONGSHORE

PLACE = os.environ.get("CHAOS_BACKEND", "engine")
"""Where replicas run: ``engine`` or ``kubernetes``."""

SEED = int(os.environ.get("LONGSHORE_CHAOS_SEED", time.time_ns() % 1_000_000))

PACE = 50
"""Requests a second while nothing else is wanted."""

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
    """What is put into disorder: two controllers and a router, on one database and backend."""

    controllers: Sequence[Program]
    router: Program
    image: str
    options: Sequence[str] = ()
    """For each registration of a version of the model."""
    number: int = 1
    """Of the version that gets the requests."""

    @property
    def version(self) -> str:
        """That version."""
        return f"behave:{self.number}"

    def client(self, *arguments: str) -> str:
        """Run a command as a user does, again where no controller is there to take it."""
        deadline = time.monotonic() + 90
        while True:
            done = subprocess.run(
                [LONGSHORE, *arguments],
                env={**os.environ, "LONGSHORE_URL": self.router.url},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            if not done.returncode:
                return done.stdout
            assert time.monotonic() < deadline, f"{arguments}: {done.stdout}{done.stderr}"
            time.sleep(0.5)


@dataclass
class Disorder(ABC):
    """Makes it, and counts.

    Args:
        platform: where.
        chance: the only source of chance, so that a run can be repeated.
        pace: requests a second while nothing else is wanted.
    """

    kinds: ClassVar[Sequence[str]]
    """What it makes, each a method; one that is named twice comes twice as often."""
    options: ClassVar[Sequence[str]]
    """For each registration of a version."""

    platform: Platform
    chance: random.Random
    pace: float
    counts: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    factor: float = 1.0

    def rate(self) -> float:
        """Return how many requests a second there are to be now."""
        return self.pace * self.factor

    def run(self, seconds: float) -> None:
        """Make disorder for so long."""
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            kind = self.chance.choice(self.kinds)
            self.counts[kind] += 1
            print(f"{time.monotonic():.2f} {kind}")
            getattr(self, kind)()
            time.sleep(self.chance.uniform(0.5, 3))

    @abstractmethod
    def kill(self) -> str | None:
        """Kill a replica, in the midst of whatever it does; return its name, if there was one."""

    def kill_a_replica(self) -> None:
        """Kill one, and note it."""
        began = time.monotonic()
        if victim := self.kill():
            self.kills.append(Kill(victim, began, time.monotonic()))

    def put_to_sleep(self) -> None:
        """Let a user put the version to sleep, while others call it."""
        self.platform.client("sleep", self.platform.version)

    def burst(self) -> None:
        """Let more requests come for a while."""
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

    def halt(self, process: "subprocess.Popen[bytes]") -> None:
        """Let a process stand still for a while."""
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(self.chance.uniform(0.5, 3))
        finally:
            process.send_signal(signal.SIGCONT)
