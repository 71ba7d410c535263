"""Images that are freed when nobody needs them any more."""

import pytest
from engine_cli import EngineCli
from parts.backends import Build, eventually, pinned, ready
from parts.images import push_image

from longshore.plugins.engine.backend import EngineBackend

pytestmark = pytest.mark.engine


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
