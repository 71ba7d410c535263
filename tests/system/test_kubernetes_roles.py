"""Two controllers and two routers on one database and one namespace of a real cluster."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parts.kubectl import Kubectl
from parts.kubernetes_backend import cluster_copy
from parts.postgres import Postgres
from parts.roles import PROGRAM, Installation, Process, installation, steady
from parts.routed import until

pytestmark = pytest.mark.kubernetes

RIGHTS = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rights.yaml"


def plugins_toml(directory: Path, namespace: str, kubeconfig: Path | str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "plugins.toml").write_text(
        '[longshore]\nbackend = "kubernetes"\n\n[[plugin]]\nname = "kubernetes"\n'
        f'settings = {{ namespace = "{namespace}", drain = 5, kubeconfig = "{kubeconfig}" }}\n'
    )
    return directory / "plugins.toml"


@pytest.fixture
async def world(
    tmp_path: Path, postgres: Postgres, kubectl: Kubectl, cluster: str
) -> AsyncIterator[Installation]:
    plugins_toml(tmp_path / "full", kubectl.namespace, cluster)
    kubectl.run("create", "namespace", kubectl.namespace)
    async with installation(tmp_path, postgres.new_database()) as running:
        yield running


def run(process: Process, *arguments: str) -> None:
    done = subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, "LONGSHORE_URL": process.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def written(kubectl: Kubectl) -> dict[str, object]:
    """Return of each of our objects which it is, and each write of ours to it that changed it."""
    found: dict[str, object] = {}
    kinds = "deployments,services,poddisruptionbudgets,networkpolicies,pods"
    for each in kubectl.get(kinds, "--show-managed-fields")["items"]:
        metadata = each["metadata"]
        ours = [
            [entry["manager"], entry["operation"], entry["time"]]
            for entry in metadata.get("managedFields", ())
            if entry["manager"].startswith("longshore")
        ]
        generation = metadata.get("generation")
        found[f"{each['kind']} {metadata['name']}"] = [metadata["uid"], generation, ours]
    return found


async def test_the_leader_dies_and_nothing_is_done_twice(
    world: Installation, kubectl: Kubectl, behave: str, cluster: str
) -> None:
    full = world.directory / "full" / "plugins.toml"
    # Routers have their own rights and no others.
    rights = RIGHTS.read_text().split("---\n")
    mine = [each for each in rights if "name: longshore-router" in each]
    text = "---\n".join(mine).replace("namespace: longshore", f"namespace: {kubectl.namespace}")
    kubectl.run("apply", "--filename=-", given=text)
    token = kubectl.run("create", "token", "longshore-router").strip()
    narrow = plugins_toml(
        world.directory / "narrow",
        kubectl.namespace,
        cluster_copy(cluster, world.directory, user={"token": token}),
    )
    first = await world.started("controller", config=full)
    second = await world.started("controller", config=full)
    routers = [await world.started("router", config=narrow) for _ in range(2)]
    run(routers[0], "register", "behave", "1", behave, "--min", "2", "--max", "2")
    for each in routers:
        assert await world.serves(each, "behave"), each.log
    deployments = kubectl.get("deployments")["items"]
    # Made, and given its two replicas: no write more than that.
    assert [each["metadata"]["generation"] for each in deployments] == [2]
    before = await settled(kubectl)
    assert "longshore" in str(before)
    async with steady(world, *routers, name="behave") as statuses:
        first.kill()
        assert await world.leader(other_than=first) is second
        await asyncio.sleep(5)
        assert written(kubectl) == before
        run(routers[1], "register", "behave", "2", behave, "--env", "COLOUR=green")
        for each in routers:
            assert await world.answered_by(each, "behave", "behave:2"), each.log
        run(routers[0], "delete", "behave:1")
        assert await until(lambda: len(kubectl.names("deployments")) == 1, 60)
        await asyncio.sleep(1)
    assert statuses.keys() == {200}, statuses
    second.kill()
    assert await world.predict(routers[0], "behave") == 200


async def settled(kubectl: Kubectl) -> dict[str, object]:
    """Return what is written of our objects once it does not change for a while."""
    async with asyncio.timeout(60):
        before = written(kubectl)
        while True:
            await asyncio.sleep(3)
            now = written(kubectl)
            if now == before:
                return now
            before = now
