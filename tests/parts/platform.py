"""``longshore up`` as a process of its own, as a user runs it."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from engine_cli import EngineCli

UNUSED_TLS = ssl.create_default_context()
"""Made once: httpx would make one for each request, which takes longer than the request."""

LONGSHORE = Path(sys.executable).with_name("longshore")


class Up:
    """A platform on a free port, with its state in a directory of the test's.

    Args:
        directory: where it runs; holds its state, its plugins.toml if there is one, and its log.
        engine: to look at its containers from outside.
        options: for ``longshore up``.
        environment: variables on top of the process's.
        program: another installation's ``longshore``.
    """

    def __init__(
        self,
        directory: Path,
        engine: EngineCli,
        *options: str,
        environment: Mapping[str, str] | None = None,
        program: Path = LONGSHORE,
    ) -> None:
        self.state = directory / "state"
        self.log = directory / "longshore.log"
        self._directory = directory
        self._engine = engine
        self._options = options
        self._program = program
        self._environment = {**os.environ, "LONGSHORE_INTERVAL": "1", **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.log.write_text("")
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [self._program, "up", "--port", "0", "--state", self.state, *self._options],
                stderr=output,
                cwd=self._directory,
                env=self._environment,
            )
        until(lambda: " listens on " in self.log.read_text() or self._ended())
        assert " listens on " in self.log.read_text(), self.log.read_text()
        self.url = self.log.read_text().partition(" listens on ")[2].split()[0]

    def stop(self) -> int:
        """Stop it as Ctrl-C does; return its status."""
        assert self.process
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a client command against it; one that fails shows its words."""
        done = subprocess.run(
            [str(self._program), *arguments],
            env={**os.environ, "LONGSHORE_URL": self.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if check and done.returncode:
            print(done.stdout, done.stderr, sep="\n")
            done.check_returncode()
        return done

    def json(self, *arguments: str) -> Any:
        """Run a reading command and return its JSON."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def status(self, name: str = "behave", version: str = "1") -> dict[str, Any]:
        """Return the status of a version."""
        path = f"/api/models/{name}/versions/{version}"
        status: dict[str, Any] = self.get(path).json()["status"]
        return status

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, verify=UNUSED_TLS)

    def post(self, url: str, body: str) -> httpx.Response:
        return httpx.post(url, content=body, timeout=60)

    def predict(self, body: str = "[1]", name: str = "behave") -> httpx.Response:
        url = f"{self.url}/v1/models/{name}/predict"
        return httpx.post(url, content=body, timeout=30, verify=UNUSED_TLS)

    def wait_for(self, state: str, name: str = "behave", within: float = 30) -> dict[str, Any]:
        """Wait until a version is in a state; return its status."""
        found = until(lambda: self.status(name)["state"] == state, within)
        status = self.status(name)
        assert found, f"{status}\n{self.log.read_text()}"
        return status

    def containers(self, everything: bool = True) -> list[str]:
        """Return the ids of this platform's containers."""
        options = ["--all"] if everything else []
        label = f"label=io.longshore.state={self.state}"
        return self._engine.run("ps", "--quiet", "--no-trunc", *options, "--filter", label).split()

    def clean_up(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process and self.process.poll() is None:
            self.stop()
        for container in self.containers():
            self._engine.run("rm", "--force", "--volumes", container)


def until(condition: Callable[[], object], within: float = 30) -> bool:
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def on_cluster(directory: Path, namespace: str, **settings: object) -> None:
    """Write a plugins.toml whose only backend is the cluster.

    Args:
        directory: of the platform.
        namespace: of the cluster.
        settings: of the plugin.
    """
    written = {"namespace": namespace, "drain": 5, **settings}
    listed = ", ".join(f"{name} = {json.dumps(value)}" for name, value in written.items())
    (directory / "plugins.toml").write_text(
        '[longshore]\nbackend = "kubernetes"\n\n[[plugin]]\nname = "kubernetes"\n'
        f"settings = {{ {listed} }}\n"
    )
