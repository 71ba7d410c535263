"""A container that is kept frozen while its version sleeps, on the real engine."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
import pytest_asyncio
from engine_cli import EngineCli
from parts.backends import IRIS, Build, eventually, exited, ready, replicas
from parts.engine_backend import Backends

from longshore.core.types import Replica, ReplicaState
from longshore.plugins.engine import replicas as replicas_module
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.wire import EngineError

pytestmark = pytest.mark.engine

Shown = Callable[[], list[tuple[str, str, bool]]]


@pytest_asyncio.fixture
async def freezing(backends: Backends) -> EngineBackend:
    return await backends.open(freezes=True)


@pytest.fixture
def shown(backends: Backends, engine_cli: EngineCli) -> Shown:
    """What the engine itself shows of our containers: id, name and whether it is frozen."""

    def look() -> list[tuple[str, str, bool]]:
        lines = engine_cli.run(
            "ps", "--all", "--no-trunc", "--format={{.ID}} {{.Names}} {{.Status}}",
            f"--filter=label=io.longshore.owner={backends.installation}",
        ).splitlines()  # fmt: skip
        parts = [line.split() for line in lines]
        return [(each[0], each[1], "paused" in str(each).lower()) for each in parts]

    return look


async def gone(backend: EngineBackend, shown: Shown) -> None:
    """Wait until nothing of ours is left."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(shown):
            await backend.list()
            await asyncio.sleep(0.05)


async def awake(backend: EngineBackend, workload: Build) -> Replica:
    await backend.apply(workload())
    (replica,) = await eventually(backend, ready)
    return replica


async def test_what_sleeps_is_frozen_and_the_same_container_wakes(
    freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    before = await awake(freezing, workload)
    [(container, _, _)] = shown()
    await freezing.rest(IRIS)
    [frozen] = shown()
    assert frozen == (container, f"{before.id}-asleep", True)
    [status] = await freezing.list()
    assert (status.replicas, status.kept) == ((), 1)
    assert status.note == "frozen for its next wake, with its memory kept"
    after = await awake(freezing, workload)
    assert shown() == [(container, after.id, False)]
    assert after.id != before.id, "nobody takes it for the one whose requests were drained"
    assert after.address == before.address
    assert before.started_at
    assert after.started_at
    assert after.started_at > before.started_at, "when it went on, as the ledger has it"
    [status] = await freezing.list()
    assert (status.kept, status.note) == (0, "")


async def test_one_is_kept_of_several_and_more_are_started_beside_it(
    freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    await freezing.apply(workload(replicas=3))
    found = await eventually(freezing, lambda found: len(found) == 3 and ready(found))
    await freezing.rest(IRIS)
    [(container, name, _)] = shown()
    assert name == f"{found[0].id}-asleep", "the oldest, which is warm"
    await freezing.rest(IRIS)
    assert len(shown()) == 1, "and again changes nothing"
    await freezing.apply(workload(replicas=2))
    await eventually(freezing, lambda found: len(found) == 2 and ready(found))
    assert container in [each[0] for each in shown()]


async def test_one_that_is_not_ready_is_not_kept(
    freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    await freezing.apply(workload(env={"START_DELAY": "60"}))
    await eventually(freezing, lambda found: len(found) == 1)
    await freezing.rest(IRIS)
    assert shown() == []


async def test_a_frozen_container_answers_nobody_and_is_asked_nothing(
    freezing: EngineBackend, workload: Build
) -> None:
    replica = await awake(freezing, workload)
    await freezing.rest(IRIS)

    def ask() -> None:
        with urllib.request.urlopen(f"http://{replica.address}/health", timeout=1):
            pass

    with pytest.raises((urllib.error.URLError, TimeoutError)):
        await asyncio.to_thread(ask)
    assert await replicas(freezing) == ()
    assert IRIS not in {each.key for each in await freezing.list() if each.replicas}


async def test_another_workload_replaces_what_is_kept(
    freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    await awake(freezing, workload)
    [(container, _, _)] = shown()
    await freezing.rest(IRIS)
    await freezing.apply(workload(env={"COLOUR": "green"}))
    await eventually(freezing, ready)
    [(other, _, _)] = shown()
    assert other != container


async def test_delete_removes_what_is_kept(
    freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    await awake(freezing, workload)
    await freezing.rest(IRIS)
    await freezing.delete(IRIS)
    assert shown() == []


async def test_another_longshore_goes_on_with_what_is_kept(
    backends: Backends, freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    await awake(freezing, workload)
    await freezing.rest(IRIS)
    [(container, _, _)] = shown()
    await freezing.close(stop_workloads=False)
    second = await backends.open(freezes=True)
    [status] = await second.list()
    assert (status.replicas, status.kept) == ((), 1)
    await awake(second, workload)
    assert [each[0] for each in shown()] == [container]
    await second.rest(IRIS)
    await second.close(stop_workloads=True)
    assert shown() == [], "a stop that stops everything stops what is frozen"


async def test_without_the_setting_nothing_is_kept(
    backends: Backends, freezing: EngineBackend, workload: Build, shown: Shown
) -> None:
    await awake(freezing, workload)
    await freezing.rest(IRIS)
    await freezing.close(stop_workloads=False)
    second = await backends.open()
    await gone(second, shown)
    await awake(second, workload)
    await second.rest(IRIS)
    assert shown() == []


async def test_one_that_was_cut_off_half_asleep_is_removed(
    freezing: EngineBackend, workload: Build, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    await awake(freezing, workload)
    monkeypatch.setattr(Client, "pause", killed)
    with pytest.raises(asyncio.CancelledError):
        await freezing.rest(IRIS)
    [(_, name, frozen)] = shown()
    assert (name.endswith("-asleep"), frozen) == (True, False)
    await gone(freezing, shown)


async def test_an_engine_that_cannot_freeze_removes(
    freezing: EngineBackend,
    workload: Build,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(*_: object) -> None:
        raise EngineError(500, "pause is not supported for rootless containers with cgroup V1")

    replica = await awake(freezing, workload)
    monkeypatch.setattr(Client, "pause", refuse)
    await freezing.rest(IRIS)
    assert shown() == []
    assert f"{replica.id} is removed, not frozen: pause is not supported" in caplog.text


async def test_what_cannot_go_on_is_replaced(
    freezing: EngineBackend,
    workload: Build,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(*_: object) -> None:
        raise EngineError(500, "it cannot be")

    await awake(freezing, workload)
    await freezing.rest(IRIS)
    [(container, _, _)] = shown()
    monkeypatch.setattr(Client, "rename", refuse)
    await awake(freezing, workload)
    assert [each[0] for each in shown()] != [container]
    assert "another one is started: it cannot be" in caplog.text


async def test_one_that_does_not_answer_again_is_given_up_and_replaced(
    freezing: EngineBackend,
    workload: Build,
    shown: Shown,
    engine_cli: EngineCli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replicas_module, "GOES_ON_WITHIN", 1.0)
    monkeypatch.setattr(replicas_module, "STOP_GRACE", 1)
    replica = await awake(freezing, workload)
    [(container, _, _)] = shown()
    stop = "import os, signal; os.kill(int(open('/proc/1/task/1/children').read()), signal.SIGSTOP)"
    await asyncio.to_thread(engine_cli.run, "exec", replica.id, "python3", "-c", stop)
    await freezing.rest(IRIS)
    await freezing.apply(workload())
    (given_up,) = await eventually(freezing, exited)
    assert given_up.reason.startswith("not ready within 1 s: ")
    async with asyncio.timeout(30):
        # Podman lists one that it is about to kill as one that lives.
        look = "inspect", "--format={{.State.Status}}", container
        while "exited" not in await asyncio.to_thread(engine_cli.run, *look):  # noqa: ASYNC110 - another program
            await asyncio.sleep(0.1)
    await awake(freezing, workload)
    assert [each[0] for each in shown()] != [container]


async def test_a_paused_replica_can_be_deleted(
    backend: EngineBackend, workload: Build, shown: Shown, engine_cli: EngineCli
) -> None:
    replica = await awake(backend, workload)
    await asyncio.to_thread(engine_cli.run, "pause", replica.id)
    await eventually(backend, lambda found: found[0].state is not ReplicaState.EXITED)
    await backend.delete(IRIS)
    assert shown() == []
