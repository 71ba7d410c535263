"""While SQL or a backend fails, what is warm is served, and only what has to is held up."""

import asyncio
import logging

import pytest
from examples_of import version
from parts.controlled import IRIS, World

from longshore import VersionKey, Workload
from longshore.core.errors import Unavailable
from longshore.core.types import State


async def test_while_sql_is_away_warm_models_are_served_and_repaired(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.clock.forward(61)

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    working = world.registry.models, world.registry.save_status
    world.registry.models = world.registry.save_status = away  # type: ignore[method-assign,assignment]
    assert world.endpoints() == ["replica-1"]
    world.backend.kill(IRIS)
    with caplog.at_level(logging.WARNING):
        await world.passes()
    assert world.endpoints() == ["replica-2"]
    assert "the database does not answer" in caplog.text
    world.registry.models, world.registry.save_status = working  # type: ignore[method-assign]
    await world.passes()
    assert (await world.status()).state is State.READY


async def test_while_the_engine_is_away_nothing_is_changed_and_users_are_told(
    world: World,
) -> None:
    await world.registry.add_version(version(), [])
    await world.passes()
    world.backend.away = True
    await world.passes()
    assert world.endpoints() == ["replica-1"], "it may well be serving"
    assert "does not answer: the engine is away" in (await world.status()).reason
    world.backend.away = False
    await world.passes()
    assert (await world.status()).reason == ""
    assert world.backend.calls == ["apply iris:1 1"]


async def test_a_backend_that_tells_what_it_has_and_takes_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Workload) -> None:
        raise Unavailable("the API does not accept the credentials", hint="renew them")

    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "apply", refuse)
        await world.registry.add_version(version(), [])
        await world.passes()
        status = await world.status()
        assert status.state is State.STARTING
        assert status.reason == (
            "backend engine does not answer: the API does not accept the credentials"
        )
        assert status.hint == "renew them"
        assert status.failures == 0
    await world.passes(3)
    status = await world.status()
    assert (status.state, status.reason, status.hint) == (State.READY, "", "")


async def test_a_backend_that_takes_no_change_is_not_asked_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def refuse(workload: Workload) -> None:
        asked.append(workload)
        raise Unavailable("the API does not accept the credentials")

    monkeypatch.setattr(world.backend, "apply", refuse)
    monkeypatch.setattr(world.controller, "_interval", 60)
    await world.registry.add_version(version(), [])
    async with world.controller.running():
        await asyncio.sleep(1)
    assert 1 <= len(asked) <= 3


async def test_a_backend_that_is_not_enabled_fails_its_versions_only(world: World) -> None:
    placement = version().placement.model_copy(update={"backend": "moon"})
    await world.registry.add_version(version().model_copy(update={"placement": placement}), [])
    await world.registry.add_version(version("roses"), [])
    await world.passes()
    assert "'moon'" in (await world.status()).reason
    roses = await world.registry.version(VersionKey("roses", "1"))
    assert roses.status.state is State.READY


async def test_a_backend_with_a_bug_fails_its_version_and_not_the_loop(world: World) -> None:
    async def apply(workload: Workload) -> None:
        raise KeyError("a bug")

    world.backend.apply = apply  # type: ignore[method-assign]
    await world.registry.add_version(version(), [])
    await world.passes(3)
    status = await world.status()
    assert status.state is State.FAILED
    assert "KeyError: 'a bug'" in status.reason
