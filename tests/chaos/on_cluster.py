"""Disorder where replicas are pods of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import httpx
from chaos.disorder import Disorder
from parts.kubectl import Kubectl

if TYPE_CHECKING:
    import subprocess


@dataclass
class OnCluster(Disorder):
    """Lets models crash, has pods and Deployments changed, and lets the API stand still."""

    kinds: ClassVar[Sequence[str]] = (
        "kill_a_replica",
        "kill_a_replica",
        "delete_a_pod",
        "put_to_sleep",
        "scale",
        "burst",
        "roll_out",
        "update",
        "kill_a_controller",
        "slow_the_api",
    )
    # With a maximum of its own, a Deployment's replicas are an autoscaler's to say.
    options: ClassVar[Sequence[str]] = ("--min", "2", "--max", "4", "--target", "1000")

    kubectl: Kubectl = field(kw_only=True)
    proxy: "subprocess.Popen[bytes]" = field(kw_only=True)
    """Through which all of the platform reach the API."""

    def kill(self) -> str | None:
        """Let a model crash: from outside, nobody can kill a pod's process on any cluster."""
        path = f"/v1/models/behave/versions/{self.platform.number}/raw/die?when=before"
        answer = httpx.get(self.platform.router.url + path, timeout=120)
        # One that hears why it cannot be served has killed nobody.
        return str(answer.json()["replica"]) if answer.status_code == 502 else None

    def delete_a_pod(self) -> None:
        """Delete a pod, as who drains a node does."""
        if found := self.kubectl.live_pods():
            victim = self.chance.choice(found)
            self.kubectl.run("delete", "pod", victim, "--wait=false", "--ignore-not-found")

    def scale(self) -> None:
        """Say how many replicas each Deployment has, as its autoscaler does."""
        for each in self.kubectl.names("deployments"):
            count = self.chance.randint(2, 4)
            # It may be gone meanwhile.
            self.kubectl.run("scale", f"deployment/{each}", f"--replicas={count}", check=False)

    def roll_out(self) -> None:
        """Have all pods exchanged, one after the other."""
        for each in self.kubectl.names("deployments"):
            self.kubectl.run("rollout", "restart", f"deployment/{each}", check=False)

    def slow_the_api(self) -> None:
        """Let the API answer nobody for a while."""
        self.halt(self.proxy)
