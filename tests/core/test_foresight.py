"""What is remembered of calls, and what plugins are asked about them."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pluggy
import pytest
from examples_of import NOON, version

from longshore import Load, Version, VersionKey, hookimpl
from longshore.core import hookspecs
from longshore.core.errors import Unavailable
from longshore.core.foresight import EVERY, Foresight, slot_of
from longshore.core.hooks import Hooks
from longshore.core.types import State, VersionStatus, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS = VersionKey("iris", "1")
MINUTE = timedelta(minutes=1)


class Asked:
    """A plugin that keeps what it is asked."""

    def __init__(self) -> None:
        self.about: list[tuple[str, Sequence[datetime], datetime]] = []
        self.answer: str | None = "as ever"

    @hookimpl
    def longshore_expect_calls(
        self, version: Version, calls: Sequence[datetime], at: datetime
    ) -> str | None:
        self.about.append((version.key.version, calls, at))
        return self.answer


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[SqlRegistry]:
    registry = SqlRegistry(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await registry.open()
    await registry.add_version(version(scaling={"min": 0}), [])
    await registry.add_version(version(number="2"), [])
    yield registry
    await registry.close()


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def hooks(asked: Asked) -> Hooks:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(asked, name="asked")
    return Hooks(manager)


async def look(
    foresight: Foresight, registry: SqlRegistry, now: datetime, *called: datetime
) -> None:
    """Look once; both versions were called last at the given time."""
    loads = {
        key: Load(key=key, last_request_at=at)
        for at in called
        for key in (IRIS, VersionKey("iris", "2"))
    }
    await foresight.look(await registry.models(), loads, now)


def test_slots_begin_at_whole_fives_of_minutes() -> None:
    assert slot_of(NOON + 9.9 * MINUTE) == NOON + 5 * MINUTE
    assert slot_of(NOON) == NOON


async def test_a_plugin_is_asked_about_what_may_sleep_and_was_called(
    registry: SqlRegistry, hooks: Hooks, asked: Asked
) -> None:
    foresight = Foresight(registry, hooks)
    await look(foresight, registry, NOON)
    assert asked.about == [], "nobody was ever called"
    now = NOON + 25 * MINUTE
    await look(foresight, registry, now, now - 2 * MINUTE)
    slot = NOON + 20 * MINUTE
    assert asked.about == [("1", (slot,), now + EVERY)], "the other one never sleeps"
    assert await registry.calls(NOON) == {IRIS: [slot]}
    await look(foresight, registry, now + EVERY / 2, now)
    assert len(asked.about) == 1, "not so soon"
    expectation = foresight.of(IRIS)
    assert expectation
    assert (expectation.since, expectation.why, expectation.plugin) == (now, "as ever", "asked")


async def test_calls_are_asked_of_as_much_earlier_as_wakes_take(
    registry: SqlRegistry, hooks: Hooks, asked: Asked
) -> None:
    await registry.set_wish(IRIS, Wish.SLEEP, "")
    await registry.set_wish(IRIS, Wish.RUN, "", at=NOON - MINUTE)
    await registry.save_status({IRIS: VersionStatus(state=State.READY, since=NOON)})
    await look(Foresight(registry, hooks), registry, NOON, NOON)
    assert [at for _, _, at in asked.about] == [NOON + MINUTE + EVERY]


async def test_an_expectation_begins_once_and_ends(
    registry: SqlRegistry, hooks: Hooks, asked: Asked
) -> None:
    foresight = Foresight(registry, hooks)
    for minutes in (0, 1, 2):
        await look(foresight, registry, NOON + minutes * MINUTE, NOON)
    expectation = foresight.of(IRIS)
    assert expectation
    assert expectation.since == NOON
    asked.answer = None
    await look(foresight, registry, NOON + 3 * MINUTE, NOON)
    assert foresight.of(IRIS) is None


async def test_what_was_remembered_outlives_a_restart(
    registry: SqlRegistry, hooks: Hooks, asked: Asked
) -> None:
    await look(Foresight(registry, hooks), registry, NOON, NOON)
    later = NOON + timedelta(days=28)
    await look(Foresight(registry, hooks), registry, later)
    assert asked.about[-1] == ("1", (NOON,), later + EVERY)
    later += timedelta(days=2)
    await look(Foresight(registry, hooks), registry, later)
    assert len(asked.about) == 2, "a month ago is forgotten"


async def test_while_sql_is_away_what_is_expected_stays(
    registry: SqlRegistry, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    foresight = Foresight(registry, hooks)
    await look(foresight, registry, NOON, NOON)
    models = await registry.models()
    called = NOON + 15 * MINUTE
    loads = {IRIS: Load(key=IRIS, last_request_at=called)}
    with monkeypatch.context() as patched:
        patched.setattr(registry, "add_calls", away)
        await foresight.look(models, loads, called)
    assert foresight.of(IRIS)
    await foresight.look(models, loads, called + MINUTE)
    assert await registry.calls(NOON) == {IRIS: [NOON, NOON + 15 * MINUTE]}, "written later"


async def test_without_a_plugin_nothing_is_remembered(registry: SqlRegistry) -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    await look(Foresight(registry, Hooks(manager)), registry, NOON, NOON)
    assert await registry.calls(NOON) == {}
