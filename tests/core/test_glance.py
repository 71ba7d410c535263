"""All versions at a glance, on a real database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from examples_of import NOON, version

from longshore import Load, VersionKey
from longshore.core.glance import EARLIER_FOR, FRESH, Glances
from longshore.core.settings import Settings
from longshore.core.types import State, VersionStatus, Wish, utc_now
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS = VersionKey("iris", "1")


def unseen(key: VersionKey) -> Load:
    return Load(key=key)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[SqlRegistry]:
    opened = SqlRegistry(Settings(state=tmp_path).database_url)
    await opened.open()
    await opened.add_version(version(), [])
    yield opened
    await opened.close()


async def test_many_who_ask_cost_as_much_as_one(registry: SqlRegistry) -> None:
    now = 0.0
    glances = Glances(registry, unseen, clock=lambda: now)
    await glances.look()
    await registry.add_version(version(number="2"), [])
    [model] = (await glances.look()).models
    assert len(model.versions) == 1
    now += FRESH
    [model] = (await glances.look()).models
    assert len(model.versions) == 2


async def test_a_call_of_before_this_start_is_known(registry: SqlRegistry) -> None:
    now = 0.0
    seen = Load(key=IRIS)
    glances = Glances(registry, lambda _: seen, clock=lambda: now)
    assert (await glances.look()).load(IRIS).last_request_at is None
    await registry.save_loads([Load(key=IRIS, last_request_at=NOON)])
    seen = Load(key=IRIS, in_flight=2)
    now += EARLIER_FOR
    glance = await glances.look()
    assert glance.load(IRIS) == Load(key=IRIS, in_flight=2, last_request_at=NOON)
    seen = Load(key=IRIS, last_request_at=NOON + timedelta(hours=1))
    assert glance.load(IRIS) == seen


async def test_how_long_wakes_take_is_known_of_what_was_woken(registry: SqlRegistry) -> None:
    now = 0.0
    glances = Glances(registry, unseen, clock=lambda: now)
    assert (await glances.look()).woken(IRIS) is None
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.set_wish(IRIS, Wish.RUN, "called")
    ready = VersionStatus(state=State.READY, since=utc_now() + timedelta(seconds=4))
    await registry.save_status({IRIS: ready})
    now += FRESH
    assert (await glances.look()).woken(IRIS) == pytest.approx(4, abs=1)
