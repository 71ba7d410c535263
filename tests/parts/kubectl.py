"""kubectl, to look at a cluster from outside."""

import json
import subprocess
from typing import Any


class Kubectl:
    """The kubectl program on one namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str, check: bool = True, given: str = "", within: float = 60) -> str:
        """Run a command, for so many seconds at most, and return what it prints."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *what: str) -> Any:
        """Return objects as the API has them."""
        return json.loads(self.run("get", *what, "--output=json"))

    def names(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return [each["metadata"]["name"] for each in self.get(kind)["items"]]

    def live_pods(self, selector: str = "") -> list[str]:
        """Return the names of the pods that are not on their way out."""
        return [
            each["metadata"]["name"]
            for each in self.get("pods", f"--selector={selector}")["items"]
            if "deletionTimestamp" not in each["metadata"]
        ]

    def apply(self, manifest: dict[str, Any]) -> None:
        """Let the cluster have an object."""
        self.run("apply", "--filename=-", given=json.dumps(manifest))
