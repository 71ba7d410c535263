"""Everything that can be wrong with a container, and the sentence that says so."""

from collections.abc import Callable

import pytest
from parts.engine_backend import LOGIN, Backends, eventually, exited, ready, replicas
from pydantic import SecretStr

from longshore.core.errors import WorkloadFailed
from longshore.core.settings import RegistryLogin
from longshore.core.types import Replica, ReplicaState, Workload
from longshore.plugins.engine.backend import EngineBackend

pytestmark = pytest.mark.engine

Build = Callable[..., Workload]
MISSING = "sha256:" + "0" * 64


async def test_image_that_is_missing(
    backend: EngineBackend, workload: Build, registry: str
) -> None:
    with pytest.raises(WorkloadFailed) as failed:
        await backend.apply(workload(image=f"{registry}/nobody@{MISSING}"))
    assert failed.value.message == (
        f"the image {registry}/nobody@sha256:000000000000 is not in the registry {registry}"
    )
    assert await replicas(backend) == ()


async def test_digest_that_is_wrong(
    backend: EngineBackend, workload: Build, behave_pinned: str
) -> None:
    repository = behave_pinned.partition("@")[0]
    with pytest.raises(WorkloadFailed, match="is not in the registry"):
        await backend.apply(workload(image=f"{repository}@{MISSING}"))


async def test_registry_that_is_away(backend: EngineBackend, workload: Build) -> None:
    with pytest.raises(WorkloadFailed, match=r"registry 127\.0\.0\.1:9 cannot be reached"):
        await backend.apply(workload(image=f"127.0.0.1:9/iris@{MISSING}"))


async def test_registry_that_wants_a_login(
    backend: EngineBackend, workload: Build, private_registry: str
) -> None:
    with pytest.raises(WorkloadFailed, match="wants a login") as failed:
        await backend.apply(workload(image=f"{private_registry}/behave@{MISSING}"))
    assert "registries in plugins.toml" in failed.value.hint


@pytest.mark.parametrize("right", [False, True])
async def test_registry_with_a_login(
    backends: Backends, workload: Build, private_image: str, right: bool
) -> None:
    user, password = LOGIN
    login = RegistryLogin(username=user, password=SecretStr(password if right else "wrong"))
    logins = {private_image.partition("/")[0]: login}
    backend = await backends.open(
        settings=backends.settings.model_copy(update={"registries": logins})
    )
    wanted = workload(image=private_image)
    if right:
        await backend.apply(wanted)
        await eventually(backend, ready)
    else:
        with pytest.raises(WorkloadFailed, match=r"refuses .* to the user 'robot'"):
            await backend.apply(wanted)


async def test_exit_at_once(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"EXIT": "3"}))
    (replica,) = await eventually(backend, exited)
    assert replica.exit_code == 3
    assert replica.reason == ("exited with code 3; last line: last words: cannot find the model")
    assert replica.log_tail == (
        "behave starts",
        "first line",
        "last words: cannot find the model",
    )


async def test_exit_without_an_error(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"EXIT": "0"}))
    (replica,) = await eventually(backend, exited)
    assert replica.reason.startswith("exited with code 0")


async def test_command_that_is_not_there(backend: EngineBackend, workload: Build) -> None:
    try:
        await backend.apply(workload(env={"PATH": "/nowhere"}))
    except WorkloadFailed as failed:
        reason = failed.message
        assert await replicas(backend) == ()
    else:
        # Where the engine has a process 1 of its own, that is what fails, inside, with its code.
        (replica,) = await eventually(backend, exited)
        assert replica.exit_code
        reason = replica.reason
    assert "python3" in reason


async def test_never_healthy(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"HEALTH": "500"}, startup=1.5))
    (replica,) = await eventually(backend, exited)
    assert replica.reason == "not ready within 1.5 s: GET /health answered 500"
    assert replica.log_tail == ("behave starts", "behave listens")
    assert (await replicas(backend))[0].reason == replica.reason


async def test_path_that_is_not_there(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(health_path="/nowhere", startup=1.5))
    (replica,) = await eventually(backend, exited)
    assert replica.reason == "not ready within 1.5 s: GET /nowhere answered 404"


async def test_path_that_need_not_be_there(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(health_path="/nowhere", health_required=False))
    await eventually(backend, ready)


async def test_nothing_ever_listens(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"START_DELAY": "60"}, startup=1))
    (replica,) = await eventually(backend, exited)
    # Docker's proxy listens where nothing does.
    assert replica.reason in {
        "not ready within 1 s: connection refused on port 8080",
        "not ready within 1 s: connection closed without an answer on port 8080",
    }


async def test_wrong_port(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"PORT": "9999"}))
    (replica,) = await eventually(backend, lambda found: found[0].hopeless)
    assert replica.state is ReplicaState.STARTING
    assert replica.reason == "nothing listens on port 8080; the container listens on 9999"
    assert replica.log_tail == ("behave starts", "behave listens")


async def test_slow_start_is_not_hopeless(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"START_DELAY": "5"}))
    seen: list[Replica] = []

    def is_ready(found: tuple[Replica, ...]) -> bool:
        seen.extend(found)
        return ready(found)

    await eventually(backend, is_ready)
    assert not any(each.hopeless or each.reason for each in seen)


async def test_out_of_memory(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"EAT": "200"}, memory_mib=64))
    (replica,) = await eventually(backend, exited)
    assert replica.exit_code == 137
    assert "out of memory" in replica.reason
    assert "64 MiB" in replica.reason


async def test_read_only_root_is_given_up_where_it_must(
    backend: EngineBackend, workload: Build, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = workload(env={"WRITE": "/etc/behave"})
    await backend.apply(wanted)
    (replica,) = await eventually(backend, ready)
    assert replica.reason == (
        "runs with a writable root file system, because it failed with a read-only one"
    )
    assert "starting it again with a writable root" in caplog.text
    # It is remembered: the next one starts that way at once, and is no surprise.
    await backend.apply(wanted.model_copy(update={"replicas": 2}))
    found = await eventually(backend, lambda found: len(found) == 2 and ready(found))
    assert replica.id in {each.id for each in found}


async def test_writable_root_from_the_start(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"WRITE": "/etc/behave"}, writable_root=True))
    (replica,) = await eventually(backend, ready)
    assert replica.reason == ""


async def test_failed_replica_is_replaced(backend: EngineBackend, workload: Build) -> None:
    wanted = workload(env={"EXIT": "3"})
    await backend.apply(wanted)
    (first,) = await eventually(backend, exited)
    await backend.apply(wanted)
    (second,) = await eventually(backend, exited)
    assert first.id != second.id
