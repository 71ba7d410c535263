"""An engine that Longshore has to find, start, lose and find again."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from parts.backends import IRIS, Build, eventually, ready, replicas
from parts.engine_backend import Backends

from longshore.core.errors import StartRefused, Unavailable
from longshore.core.settings import Settings
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.connect import connect
from longshore.plugins.engine.service import PodmanService, answers, listener

pytestmark = pytest.mark.engine


@pytest.fixture
def nobody_listens() -> None:
    """Skip where an engine listens at a usual place, which would be taken."""
    for path in ("/var/run/docker.sock", "/run/podman/podman.sock"):
        if answers(Path(path)):
            pytest.skip(f"an engine listens at {path}")


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[PodmanService]:
    program = shutil.which("podman")
    if not program:
        pytest.skip("there is no podman")
    service = PodmanService(program, tmp_path, os.environ)
    yield service
    await service.stop()


async def test_service_comes_goes_and_is_found_again(service: PodmanService) -> None:
    await service.start()
    pid = listener(service.socket)
    assert pid
    await service.start()
    assert listener(service.socket) == pid
    # As after kill -9 of Longshore: another object that knows the state directory alone.
    successor = PodmanService("/nowhere/podman", service.socket.parent, os.environ)
    await successor.start()
    assert listener(successor.socket) == pid
    await successor.stop()
    assert not answers(service.socket)
    assert not service.socket.exists()
    await successor.stop()


async def test_service_under_a_long_path(service: PodmanService, tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    state.mkdir()
    deep = PodmanService(shutil.which("podman") or "", state, os.environ)
    await deep.start()
    try:
        assert len(os.fsencode(deep.socket)) <= 107
        assert answers(deep.socket)
    finally:
        await deep.stop()
    assert not deep.socket.parent.exists(), "it was there for the socket alone"


async def test_service_that_does_not_come_up(tmp_path: Path) -> None:
    broken = PodmanService(shutil.which("false") or "", tmp_path, os.environ)
    with pytest.raises(StartRefused, match="did not come up"):
        await broken.start()


@pytest.mark.usefixtures("nobody_listens")
async def test_only_the_program_is_there(
    tmp_path: Path, workload: Build, service: PodmanService
) -> None:
    settings = Settings(state=tmp_path)
    backend = EngineBackend(settings, socket=None, environment=_plain_environment())
    try:
        await backend.open("podman-only")
        assert backend.describe().endswith(f"at {service.socket}")
        await backend.apply(workload())
        await eventually(backend, ready)
    finally:
        await backend.close(stop_workloads=True)
    assert not answers(service.socket)


@pytest.mark.usefixtures("nobody_listens")
async def test_killed_service_is_started_again(
    tmp_path: Path, workload: Build, service: PodmanService
) -> None:
    backend = EngineBackend(Settings(state=tmp_path), socket=None, environment=_plain_environment())
    try:
        await backend.open("podman-killed")
        hints = backend.watch()
        await backend.apply(workload())
        before = await eventually(backend, ready)
        pid = listener(service.socket)
        assert pid
        os.kill(pid, signal.SIGKILL)
        await _gone(service.socket)
        assert await replicas(backend) == before
        async with asyncio.timeout(10):
            await anext(hints)
        await backend.apply(workload())
        assert await eventually(backend, ready) == before
        await backend.delete(IRIS)
    finally:
        await backend.close(stop_workloads=True)


async def test_foreign_engine_that_goes_and_comes(
    backends: Backends, workload: Build, service: PodmanService
) -> None:
    await service.start()
    environment = {**os.environ, "DOCKER_HOST": f"unix://{service.socket}"}
    settings = backends.settings.model_copy(update={"state": backends.settings.state / "other"})
    backend = await backends.open(settings=settings, environment=environment)
    await backend.apply(workload())
    before = await eventually(backend, ready)
    await service.stop()
    with pytest.raises(Unavailable, match=str(service.socket)):
        await backend.list()
    with pytest.raises(Unavailable):
        await backend.apply(workload(replicas=2))
    with pytest.raises(Unavailable):
        await backend.delete(IRIS)
    hints = backend.watch()
    looking = asyncio.ensure_future(_until_back(backend, hints))
    await service.start()
    async with asyncio.timeout(15):
        await looking
    assert await eventually(backend, ready) == before
    # Before the fixtures end, of which the service is the first to go.
    await backend.close(stop_workloads=True)


@pytest.mark.usefixtures("nobody_listens")
async def test_nothing_to_connect_to(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="no container engine was found") as refused:
        await connect(None, tmp_path, {"PATH": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)})
    assert "apt-get install podman" in refused.value.hint


async def test_named_engine_that_does_not_answer(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/docker.sock"
    with pytest.raises(StartRefused, match=r"DOCKER_HOST: .*docker.sock does not answer"):
        await connect(None, tmp_path, {**os.environ, "DOCKER_HOST": address})


async def test_something_else_at_the_socket(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    socket = tmp_path / "other.sock"
    async with await asyncio.start_unix_server(answer, socket):
        with pytest.raises(StartRefused, match="is no container engine"):
            await connect(str(socket), tmp_path, {})


def _plain_environment() -> dict[str, str]:
    named = {"DOCKER_HOST", "CONTAINER_HOST"}
    return {name: value for name, value in os.environ.items() if name not in named}


async def _gone(socket: Path) -> None:
    async with asyncio.timeout(5):
        while answers(socket):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)


async def _until_back(backend: EngineBackend, hints: AsyncIterator[None]) -> None:
    async for _ in hints:
        with contextlib.suppress(Unavailable):
            await backend.list()
            return
