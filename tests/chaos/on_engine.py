"""Disorder where replicas are containers of one machine's engine."""

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from chaos.disorder import Disorder
from engine_cli import EngineCli


@dataclass
class OnEngine(Disorder):
    """Kills containers, and lets Podman's service stand still."""

    kinds: ClassVar[Sequence[str]] = (
        "kill_a_replica",
        "kill_a_replica",
        "put_to_sleep",
        "scale",
        "update",
        "kill_a_controller",
        "slow_the_engine",
    )
    options: ClassVar[Sequence[str]] = ("--max", "3", "--target", "4")

    engine: EngineCli = field(kw_only=True)
    owner: str = field(kw_only=True)
    """Id of the installation, which its containers carry."""
    service: "subprocess.Popen[bytes]" = field(kw_only=True)
    """Podman's, that all of the platform use."""

    def kill(self) -> str | None:
        """Kill a container."""
        found = self.engine.run(
            *("ps", "--format", "{{.Names}}"),
            *("--filter", f"label=io.longshore.owner={self.owner}"),
        ).split()
        if not found:
            return None
        victim = self.chance.choice(found)
        with contextlib.suppress(subprocess.CalledProcessError):  # gone by itself
            self.engine.run("kill", victim)
            return victim
        return None

    def scale(self) -> None:
        """Let more requests come for a while, so that the version takes more replicas."""
        self.burst()

    def slow_the_engine(self) -> None:
        """Let the engine answer nobody for a while."""
        self.halt(self.service)
