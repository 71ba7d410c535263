"""Images that are freed when nobody needs them any more."""

from pathlib import Path

import pytest
from aiohttp import web
from engine_cli import EngineCli
from parts.backends import Build, eventually, pinned, ready
from parts.images import push_image

from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.client import Client, EngineError


@pytest.mark.parametrize(
    ("status", "message", "has"),
    [
        (200, "", True),
        (404, "no such image", False),
        # Podman 4.3, when the image goes between two looks of its own.
        (500, 'reading image "37": locating image with ID "37": image not known', False),
        (500, "database is locked", None),
    ],
)
async def test_an_image_that_goes_while_it_is_looked_for_is_missing(
    tmp_path: Path, status: int, message: str, has: bool | None
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"message": message}, status=status)

    engine = web.Application()
    engine.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(engine)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "socket")).start()
    client = Client(tmp_path / "socket")
    try:
        if has is None:
            with pytest.raises(EngineError, match=message):
                await client.has_image("iris@sha256:aa")
        else:
            assert await client.has_image("iris@sha256:aa") is has
    finally:
        await client.close()
        await runner.cleanup()


@pytest.mark.engine
async def test_an_image_goes_once_no_container_has_it_and_comes_back(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli, registry: str
) -> None:
    # One of its own, so that no other test misses it.
    reference = pinned(push_image("behave", registry, "freed"))
    mine = workload(image=reference)
    await backend.apply(mine)
    await eventually(backend, ready)
    await backend.free_image(reference)
    assert engine_cli.has_image(reference), "a container has it"

    await backend.delete(mine.key)
    await backend.free_image(reference)
    assert not engine_cli.has_image(reference)
    await backend.free_image(reference)

    await backend.apply(mine)
    await eventually(backend, ready)
