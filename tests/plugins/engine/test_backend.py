"""What the backend promises while all is well, and when somebody else meddles."""

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from engine_cli import EngineCli
from parts.backends import IRIS, Build, eventually, exited, ready, replicas
from parts.engine_backend import Backends
from parts.promises import BackendPromises

from longshore.core.types import ReplicaState
from longshore.plugins.engine import probe
from longshore.plugins.engine.applying import Applier
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.containers import STOP_GRACE

pytestmark = pytest.mark.engine


class TestPromises(BackendPromises):
    """Those of every backend."""


@pytest.fixture
def stranger(engine_cli: EngineCli, behave_pinned: str) -> Iterator[str]:
    """A container of somebody else, labelled much like ours."""
    name = "somebody-elses"
    engine_cli.run("rm", "--force", name)
    engine_cli.run(
        "run", "--detach", "--name", name,
        "--label", "io.longshore.model=iris", "--label", "io.longshore.version=1",
        behave_pinned,
    )  # fmt: skip
    yield name
    engine_cli.run("rm", "--force", name)


async def test_a_replica_is_published_on_loopback_only(
    backend: EngineBackend, workload: Build
) -> None:
    await backend.apply(workload())
    (replica,) = await eventually(backend, ready)
    assert replica.address
    assert replica.address.host == "127.0.0.1"


async def test_what_runs_is_confined(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli
) -> None:
    await backend.apply(workload(memory_mib=128, cpu_millicores=500))
    (replica,) = await eventually(backend, ready)
    shown = engine_cli.run(
        "exec", replica.id, "python3", "-c",
        "import os; status = open('/proc/1/status').read().splitlines();"
        "print([line for line in status if line.startswith(('CapEff', 'NoNewPrivs'))]);"
        "print([os.access(path, os.W_OK) for path in ('/etc', '/tmp', '/run', '/var/tmp')])",
    )  # fmt: skip
    assert "CapEff:\\t0000000000000000" in shown
    assert "NoNewPrivs:\\t1" in shown
    assert "[False, True, True, True]" in shown
    host = json.loads(engine_cli.run("inspect", replica.id))[0]["HostConfig"]
    assert host["Memory"] == 128 << 20
    assert host["PidsLimit"] == 4096
    assert host["NanoCpus"] == 500_000_000 or host["CpuQuota"] * 2 == host["CpuPeriod"]


async def test_stubborn_container_is_stopped(backend: EngineBackend, workload: Build) -> None:
    # Nobody in it hears SIGTERM, so that waiting for it would be in vain.
    await backend.apply(workload(env={"IGNORE_TERM": "1"}))
    await eventually(backend, ready)
    async with asyncio.timeout(STOP_GRACE * 0.8):
        await backend.delete(IRIS)


async def test_killed_container_is_seen_and_replaced(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli
) -> None:
    await backend.apply(workload())
    (before,) = await eventually(backend, ready)
    await asyncio.to_thread(engine_cli.run, "kill", before.id)
    (dead,) = await eventually(backend, exited, within=5)
    assert dead.id == before.id
    assert dead.reason.startswith("killed by signal 9 (exit code 137)")
    await backend.apply(workload())
    (after,) = await eventually(backend, ready)
    assert after.id != before.id


async def test_removal_by_hand_is_seen_and_mended(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli
) -> None:
    await backend.apply(workload())
    (before,) = await eventually(backend, ready)
    await asyncio.to_thread(engine_cli.run, "rm", "--force", before.id)
    assert await replicas(backend) == ()
    await backend.apply(workload())
    await eventually(backend, ready)


async def test_others_are_left_alone(
    backends: Backends, workload: Build, stranger: str, engine_cli: EngineCli
) -> None:
    ours, theirs = await backends.open(), await backends.open("another-installation")
    await ours.apply(workload())
    await theirs.apply(workload())
    (mine,) = await eventually(ours, ready)
    (other,) = await eventually(theirs, ready)
    assert mine.id != other.id
    await ours.apply(workload(replicas=0))
    await ours.delete(IRIS)
    await ours.close(stop_workloads=True)
    assert (await replicas(theirs))[0].state is ReplicaState.READY
    assert "running" in engine_cli.run("inspect", "--format={{.State.Status}}", stranger)


async def test_close_removes_everything(
    backends: Backends, workload: Build, engine_cli: EngineCli
) -> None:
    backend = await backends.open()
    await backend.apply(workload(replicas=2))
    await backend.close(stop_workloads=True)
    await backend.close(stop_workloads=True)
    owner = f"--filter=label=io.longshore.owner={backends.installation}"
    assert engine_cli.run("ps", "--all", "--quiet", owner) == ""


async def test_cancelled_at_any_moment(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli, backends: Backends
) -> None:
    wanted = workload(replicas=2)
    for milliseconds in (1, 5, 20, 50, 80, 120, 200, 300):
        applying = asyncio.create_task(backend.apply(wanted))
        await asyncio.sleep(milliseconds / 1000)
        applying.cancel()
        await asyncio.wait([applying])
        if milliseconds % 20:
            await backend.apply(workload(replicas=0))
    await backend.apply(wanted)
    await eventually(backend, lambda found: len(found) == 2 and ready(found))
    owner = f"--filter=label=io.longshore.owner={backends.installation}"
    assert len(engine_cli.run("ps", "--all", "--quiet", owner).split()) == 2


async def test_cancelled_before_its_starts_begin(
    backend: EngineBackend, workload: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cancelled between the last look at what is there and the first step of a start: no start may
    # be left behind as a coroutine that nobody awaits, which is an error here.
    applying: asyncio.Task[None]
    remove = Applier.remove

    async def cancel_after(*arguments: Any) -> None:
        await remove(*arguments)
        applying.cancel()

    monkeypatch.setattr(Applier, "remove", cancel_after)
    applying = asyncio.create_task(backend.apply(workload(replicas=2)))
    await asyncio.wait([applying])
    assert applying.cancelled()
    monkeypatch.undo()
    gc.collect()
    assert await replicas(backend) == ()


async def test_leftover_of_a_cut_start_is_cleaned(
    backends: Backends, workload: Build, engine_cli: EngineCli
) -> None:
    backend = await backends.open()
    await backend.apply(workload())
    await eventually(backend, ready)
    labels = {
        "io.longshore.owner": backends.installation,
        "io.longshore.model": "iris",
        "io.longshore.version": "1",
        "io.longshore.fingerprint": "x",
        "io.longshore.port": "8080",
    }
    options = [f"--label={name}={value}" for name, value in labels.items()]
    create = ["create", *options, workload().image]
    engine_cli.run(*create)
    assert len(await replicas(backend)) == 1
    await backend.apply(workload())
    owner = f"--filter=label=io.longshore.owner={backends.installation}"
    assert len(engine_cli.run("ps", "--all", "--quiet", owner).split()) == 1
    await backend.close(stop_workloads=False)
    engine_cli.run(*create)
    await eventually(await backends.open(), ready)
    assert len(engine_cli.run("ps", "--all", "--quiet", owner).split()) == 1


async def test_list_survives_containers_that_vanish(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli
) -> None:
    await backend.apply(workload(replicas=3))
    names = [each.id for each in await eventually(backend, ready)]
    removal = asyncio.create_task(asyncio.to_thread(engine_cli.run, "rm", "--force", *names))
    while not removal.done():
        await backend.list()
    await removal
    assert await replicas(backend) == ()


async def test_what_is_removed_while_it_is_looked_at_stays_gone(
    backend: EngineBackend, workload: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.apply(workload(env={"EXIT": "7"}))
    inspect, removing = Client.inspect, [True]

    async def inspect_then_remove(client: Client, container: str) -> dict[str, Any] | None:
        found = await inspect(client, container)
        if removing and found and not found["State"]["Running"]:
            removing.clear()
            await backend.delete(IRIS)
        return found

    monkeypatch.setattr(Client, "inspect", inspect_then_remove)
    async with asyncio.timeout(20):
        while removing:
            found = await replicas(backend)
    assert found == ()


async def test_sick_replica_is_unready_and_recovers(
    backend: EngineBackend,
    workload: Build,
    engine_cli: EngineCli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "READY_TIMEOUT", 0.5)
    monkeypatch.setattr(probe, "WHILE_READY", 0.5)
    await backend.apply(workload())
    (replica,) = await eventually(backend, ready)
    await asyncio.to_thread(engine_cli.run, "pause", replica.id)
    (sick,) = await eventually(backend, lambda found: found[0].state is ReplicaState.UNREADY)
    assert sick.reason == "GET /health got no answer within 0.5 s"
    await asyncio.to_thread(engine_cli.run, "unpause", replica.id)
    await eventually(backend, ready)


async def test_pull_tells_how_far_it_is(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli, behave_pinned: str
) -> None:
    engine_cli.run("rmi", "--force", behave_pinned)
    applying = asyncio.create_task(backend.apply(workload()))
    seen = set()
    while not applying.done():
        for status in await backend.list():
            if status.progress:
                seen.add(status.progress.what.partition(" ")[0])
                assert status.fingerprint == workload().fingerprint
        await asyncio.sleep(0)
    await applying
    assert "pulling" in seen
    await eventually(backend, ready)
