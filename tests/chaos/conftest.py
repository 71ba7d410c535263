"""The platform that is put into disorder, and where its replicas run."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from chaos.disorder import PACE, PLACE, SEED, Disorder, Platform, Program
from chaos.on_cluster import OnCluster
from chaos.on_engine import OnEngine
from engine_cli import EngineCli
from parts import tcp_proxy
from parts.aggregated import free_port
from parts.kubectl import Kubectl
from parts.kubernetes_backend import cluster_address, cluster_copy
from parts.platform import LONGSHORE, on_cluster, until
from parts.postgres import Postgres

from longshore.plugins.sql_registry.registry import SqlRegistry


@pytest.fixture
def disorder(
    request: pytest.FixtureRequest, behave: str, postgres: Postgres, tmp_path: Path
) -> Iterator[Disorder]:
    """Disorder on a platform that runs, where ``CHAOS_BACKEND`` says."""
    print(f"LONGSHORE_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311 - no secret
    platform = _Parts(tmp_path, behave, postgres.new_database())
    if PLACE == "engine":
        with _on_engine(request.getfixturevalue("engine_cli"), platform, chance) as made:
            yield made
    elif PLACE == "kubernetes":
        cluster, kubectl = map(request.getfixturevalue, ("cluster", "kubectl"))
        with _on_cluster(cluster, kubectl, platform, chance) as made:
            yield made
    else:
        pytest.fail(f"CHAOS_BACKEND is {PLACE!r}; it can be engine or kubernetes")


@contextmanager
def _on_engine(engine: EngineCli, parts: "_Parts", chance: random.Random) -> Iterator[OnEngine]:
    """Have Podman's service with a socket of its own, which can be made to stand still."""
    if engine.program != "podman":
        pytest.skip("only Podman's service can be stopped without stopping others' containers")
    socket = parts.directory / "podman.sock"
    settings = f'name = "engine"\nsettings = {{ socket = "{socket}" }}'
    (parts.directory / "plugins.toml").write_text(f"[[plugin]]\n{settings}\n")
    command = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    with _beside(*command, environment={**os.environ, **engine.environment}) as service:
        owner = ""
        try:
            with parts.running() as platform:
                owner = asyncio.run(_installation(parts.database))
                yield OnEngine(platform, chance, PACE, engine=engine, owner=owner, service=service)
        finally:
            label = f"label=io.longshore.owner={owner}"
            for container in engine.run("ps", "--all", "--quiet", "--filter", label).split():
                engine.run("rm", "--force", "--time", "0", container)


@contextmanager
def _on_cluster(
    cluster: str, kubectl: Kubectl, parts: "_Parts", chance: random.Random
) -> Iterator[OnCluster]:
    """Have a way to the cluster's API that can be made to stand still."""
    host, port = cluster_address(cluster)
    here = free_port("127.0.0.1")
    copy = cluster_copy(cluster, parts.directory, port=here)
    on_cluster(parts.directory, kubectl.namespace, kubeconfig=str(copy))
    passing_on = f"127.0.0.1:{here}={host}:{port}"
    with _beside(sys.executable, tcp_proxy.__file__, passing_on) as proxy:
        ready = ("get", "--raw=/readyz", f"--kubeconfig={copy}")
        assert until(lambda: kubectl.run(*ready, check=False) == "ok")
        with parts.running() as platform:
            yield OnCluster(platform, chance, PACE, kubectl=kubectl, proxy=proxy)


class _Parts:
    """What a platform is made of: two controllers and a router, by one plugins.toml.

    Args:
        directory: with the plugins.toml, by the time that it runs.
        image: of the model.
        database: URL.
    """

    def __init__(self, directory: Path, image: str, database: str) -> None:
        self.directory = directory
        self.database = database
        self._image = image

    @contextmanager
    def running(self) -> Iterator[Platform]:
        """Run it while the context is open."""
        programs = [
            self._program("controller", "a"),
            self._program("controller", "b"),
            self._program("router", "r"),
        ]
        *controllers, router = programs
        try:
            for each in programs:
                each.start()
            yield Platform(controllers, router, self._image)
        finally:
            for each in reversed(programs):
                each.stop()

    def _program(self, command: str, place: str) -> Program:
        config = str(self.directory / "plugins.toml")
        words = [str(LONGSHORE), command, "--config", config, "--port", "0"]
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("LONGSHORE")},
            "LONGSHORE_DATABASE": self.database,
            "LONGSHORE_INTERVAL": "1",
        }
        return Program(words, self.directory / place, environment)


@contextmanager
def _beside(
    *command: str, environment: Mapping[str, str] = os.environ
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a process while the context is open."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


async def _installation(database: str) -> str:
    registry = SqlRegistry(database)
    try:
        return await registry.installation()
    finally:
        await registry.close()
