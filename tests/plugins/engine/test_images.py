"""Images that are freed when nobody needs them any more."""

from pathlib import Path

import pytest
from aiohttp import web
from engine_cli import EngineCli
from parts.backends import Build, eventually, pinned, ready
from parts.images import push_image

from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.wire import EngineError

GONE = 'reading image "37": locating image with ID "37": image not known'
"""Podman 4.3, when any image goes between two looks of its own."""
HALF = 'failed to convert ImageData: locating item named "manifest" for image with ID "37"'
"""The same, when any image is just being pulled."""


@pytest.mark.parametrize(
    ("answers", "has"),
    [
        ([(200, "")], True),
        ([(404, "no such image")], False),
        ([(500, GONE), (500, HALF), (200, "")], True),
        ([(500, GONE), (404, "no such image")], False),
        ([(500, GONE)] * 5, None),
        ([(500, "database is locked")], None),
    ],
)
async def test_images_that_come_and_go_do_not_hide_the_one_that_is_looked_for(
    tmp_path: Path,
    answers: list[tuple[int, str]],
    has: bool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("longshore.plugins.engine.client.LOOK_AGAIN", (0.01,) * 4)
    coming = iter(answers)

    async def answer(_: web.Request) -> web.Response:
        status, message = next(coming)
        return web.json_response({"message": message}, status=status)

    engine = web.Application()
    engine.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(engine)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "socket")).start()
    client = Client(tmp_path / "socket")
    try:
        if has is None:
            with pytest.raises(EngineError, match=answers[-1][1]):
                await client.has_image("iris@sha256:aa")
        else:
            assert await client.has_image("iris@sha256:aa") is has
        assert not list(coming), "each was heard"
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


@pytest.mark.engine
async def test_an_image_that_somebody_pulled_by_its_name_stays(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli, registry: str
) -> None:
    name = push_image("behave", registry, "named")
    reference = pinned(name)
    plain = ["--tls-verify=false"] if engine_cli.program == "podman" else []
    engine_cli.run("pull", *plain, name)
    mine = workload(image=reference)
    await backend.apply(mine)
    await eventually(backend, ready)
    await backend.delete(mine.key)

    assert await backend.free_image(reference), "there is nothing to do"
    assert engine_cli.has_image(name)
    engine_cli.run("rmi", name)


@pytest.mark.engine
async def test_it_is_told_that_a_container_has_an_image_still(
    backend: EngineBackend, workload: Build, registry: str
) -> None:
    mine = workload(image=pinned(push_image("behave", registry, "in-use")))
    await backend.apply(mine)
    await eventually(backend, ready)
    assert not await backend.free_image(mine.image)
    await backend.delete(mine.key)
    assert await backend.free_image(mine.image)
    assert await backend.free_image(mine.image), "it is gone already"
