"""What the backend promises while all is well, and when somebody else meddles."""

import asyncio
import gc
import http.client
import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_cli import EngineCli
from parts.engine_backend import IRIS, Backends, eventually, exited, ready, replicas

from longshore.core.errors import NotFound
from longshore.core.names import VersionKey
from longshore.core.types import Address, ReplicaState, Workload
from longshore.plugins.engine import probe
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.containers import STOP_GRACE

pytestmark = pytest.mark.engine

Build = Callable[..., Workload]


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


def get(address: Address | None, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        content: bytes = answer.read()
        return content


async def test_a_replica_answers_where_it_says(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"COLOUR": "blue", "SIGN": "a=b c"}))
    (replica,) = await eventually(backend, ready)
    assert replica.address is not None
    assert replica.address.host == "127.0.0.1"
    assert replica.id.startswith("longshore-iris-1-")
    environment = json.loads(await asyncio.to_thread(get, replica.address, "/environment"))
    assert environment["COLOUR"] == "blue"
    assert environment["SIGN"] == "a=b c"


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


async def test_apply_again_changes_nothing(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(replicas=2))
    before = await eventually(backend, ready)
    await backend.apply(workload(replicas=2))
    assert await replicas(backend) == before


async def test_more_and_fewer(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload())
    (oldest,) = await eventually(backend, ready)
    await backend.apply(workload(replicas=3))
    three = await eventually(backend, lambda found: len(found) == 3 and ready(found))
    assert three[0] == oldest
    await backend.apply(workload(replicas=2))
    assert {each.id for each in await replicas(backend)} == {each.id for each in three[:2]}
    await backend.apply(workload(retire=(oldest.id,)))
    assert [each.id for each in await replicas(backend)] == [three[1].id]
    await backend.apply(workload(replicas=0))
    assert await replicas(backend) == ()


async def test_another_fingerprint_replaces(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload())
    (before,) = await eventually(backend, ready)
    changed = workload(env={"COLOUR": "green"})
    await backend.apply(changed)
    (after,) = await eventually(backend, ready)
    assert before.id != after.id
    (status,) = await backend.list()
    assert status.fingerprint == changed.fingerprint


async def test_delete_twice(backend: EngineBackend, workload: Build) -> None:
    other = VersionKey("iris", "2")
    await backend.apply(workload())
    await backend.apply(workload(key=other))
    await backend.delete(IRIS)
    assert [each.key for each in await backend.list()] == [other]
    await backend.delete(IRIS)


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


async def test_another_longshore_adopts(backends: Backends, workload: Build) -> None:
    first = await backends.open()
    await first.apply(workload(replicas=2))
    before = await eventually(first, ready)
    await first.close(stop_workloads=False)
    second = await backends.open()
    after = await eventually(second, ready, within=5)
    assert [each.model_dump() for each in after] == [each.model_dump() for each in before]
    await second.apply(workload(replicas=2))
    assert await replicas(second) == after


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
    remove = backend._remove  # noqa: SLF001 - that moment has no other door

    async def cancel_after(*arguments: Any) -> None:
        await remove(*arguments)
        applying.cancel()

    monkeypatch.setattr(backend, "_remove", cancel_after)
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


async def test_watch_tells_of_readiness_and_death(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli
) -> None:
    hints = backend.watch()
    await backend.apply(workload())
    async with asyncio.timeout(20):
        while not ready(await replicas(backend)):
            await anext(hints)
    (replica,) = await replicas(backend)
    async with asyncio.timeout(10):
        await asyncio.to_thread(engine_cli.run, "kill", replica.id)
        while not exited(await replicas(backend)):
            await anext(hints)


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


async def test_logs_of_all_replicas(backend: EngineBackend, workload: Build) -> None:
    with pytest.raises(NotFound):
        await anext(backend.logs(IRIS))
    await backend.apply(workload(replicas=2))
    await eventually(backend, ready)
    lines = [line async for line in backend.logs(IRIS)]
    assert sorted(lines) == ["behave listens"] * 2 + ["behave starts"] * 2
    assert len([line async for line in backend.logs(IRIS, tail=1)]) == 2


async def test_logs_of_the_dead(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"EXIT": "1"}))
    await eventually(backend, exited)
    lines = [line async for line in backend.logs(IRIS)]
    assert lines[-1] == "last words: cannot find the model"


async def test_logs_follow_new_replicas(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload())
    (replica,) = await eventually(backend, ready)
    lines: list[str] = []

    async def read() -> None:
        async for line in backend.logs(IRIS, tail=0, follow=True):
            lines.append(line)  # noqa: PERF401 - they are looked at while it goes on

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    with pytest.raises(http.client.RemoteDisconnected):
        await asyncio.to_thread(get, replica.address, "/die")
    await eventually(backend, exited)
    await backend.apply(workload())
    await eventually(backend, lambda _: "behave listens" in lines)
    reading.cancel()
    assert lines == ["dying as asked", "behave starts", "behave listens"]


async def test_nodes(backend: EngineBackend) -> None:
    (node,) = await backend.nodes()
    assert node.name
    assert node.architecture in {"amd64", "arm64"}
    assert node.cpu_millicores >= 1000
    assert node.memory_mib > 100


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
