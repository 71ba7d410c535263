"""What is read again and again is made anew where it changed, whoever changed it."""

from collections.abc import AsyncIterator, Mapping

import examples_of
import pytest

from longshore.core.names import VersionKey
from longshore.core.types import Model, State, TrafficRule, VersionRecord, VersionStatus, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS, ROSE, OTHER = VersionKey("iris", "1"), VersionKey("rose", "1"), VersionKey("rose", "2")


@pytest.fixture
async def elsewhere(registry: SqlRegistry, url: str) -> AsyncIterator[SqlRegistry]:
    """Another process on the same database."""
    other = SqlRegistry(url)
    await other.open()
    yield other
    await other.close()


def records(models: list[Model]) -> Mapping[VersionKey, VersionRecord]:
    return {each.version.key: each for model in models for each in model.versions}


async def both(registry: SqlRegistry) -> tuple[VersionRecord | None, VersionRecord]:
    """Return iris and rose, as all versions are read; and look that each alone reads the same."""
    models = list(await registry.models())
    assert models == [await registry.model(each.name) for each in models]
    found = records(models)
    return found.get(IRIS), found[ROSE]


async def test_a_change_by_another_process_is_read_and_nothing_else_made_anew(
    registry: SqlRegistry, elsewhere: SqlRegistry
) -> None:
    for key in (IRIS, ROSE):
        await registry.add_version(examples_of.version(key.name, key.version), [])
    iris, rose = await both(registry)
    assert iris is not None
    again, same = await both(registry)
    assert again is iris
    assert same is rose

    await elsewhere.set_wish(IRIS, Wish.SLEEP, "a test")
    iris, same = await both(registry)
    assert iris is not None
    assert iris.wish is Wish.SLEEP
    assert same is rose

    # Nothing of these moves the revision.
    await elsewhere.set_pinned(IRIS, pinned=True)
    iris, same = await both(registry)
    assert iris is not None
    assert iris.pinned
    assert same is rose
    status = VersionStatus(state=State.PENDING, replicas=3, log_tail=("a line\0",))
    await elsewhere.save_status({IRIS: status})
    iris, same = await both(registry)
    assert iris is not None
    assert iris.status == status
    assert same is rose

    await elsewhere.set_traffic("iris", TrafficRule(weights={"1": 5}))
    [model, _] = await registry.models()
    assert model.traffic == TrafficRule(weights={"1": 5})

    await elsewhere.delete_version(IRIS)
    iris, same = await both(registry)
    assert iris is None
    assert same is rose


async def test_a_number_that_is_registered_anew_is_another_version(
    registry: SqlRegistry, elsewhere: SqlRegistry
) -> None:
    """SQLite gives the newest row's id to the next one, once that is gone."""
    await registry.add_version(examples_of.version("rose", "1"), [])
    await registry.add_version(examples_of.version("rose", "2", env={"A": "1"}), [])
    before = records(list(await registry.models()))
    await elsewhere.delete_version(OTHER)
    await elsewhere.add_version(examples_of.version("rose", "2", env={"A": "2"}), [])
    after = records(list(await registry.models()))
    assert before[OTHER].version.spec.env == {"A": "1"}
    assert after[OTHER].version.spec.env == {"A": "2"}
    assert after[ROSE] is before[ROSE]
