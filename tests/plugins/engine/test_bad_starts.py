"""Everything that can be wrong with a container, and the sentence that says so."""

import pytest
from parts.backends import LOGIN, Build, eventually, exited, ready, replicas
from parts.engine_backend import Backends
from pydantic import SecretStr

from longshore.core.errors import WorkloadFailed
from longshore.core.settings import RegistryLogin
from longshore.core.types import ReplicaState
from longshore.plugins.engine.backend import EngineBackend

pytestmark = pytest.mark.engine

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


async def test_wrong_port(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"PORT": "9999"}))
    (replica,) = await eventually(backend, lambda found: found[0].hopeless)
    assert replica.state is ReplicaState.STARTING
    assert replica.reason == "nothing listens on port 8080; the container listens on 9999"
    assert replica.log_tail == ("behave starts", "behave listens")
