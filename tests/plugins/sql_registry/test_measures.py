"""What was measured is kept on both databases, and plans are replaced where that may be."""

from datetime import timedelta

import examples_of
import pytest

from longshore.core.measures import Measured
from longshore.core.names import VersionKey
from longshore.core.types import HardwarePlan, RankedNode, Resources, Version, Wish
from longshore.plugins.sql_registry import measures
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS = VersionKey("iris", "1")
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HOUR = timedelta(hours=1)


def measured(digest: str = A, hours: int = 0, **fields: object) -> Measured:
    at = examples_of.NOON + hours * HOUR
    told = {"digest": digest, "settings": "s", "resources": Resources(memory="1Gi")}
    return Measured.model_validate({**told, "version": IRIS, "since": at, "last_at": at, **fields})


async def test_of_what_was_measured_again_the_most_is_kept_and_readings_add_up(
    registry: SqlRegistry,
) -> None:
    await registry.add_measures([measured(memory_mib=100, gpu_memory_unread="no NVML", readings=3)])
    other = measured(B, 1, settings="t", memory_unread="away")
    await registry.add_measures(
        [
            measured(
                hours=2, memory_mib=90, gpu_memory_mib=7, readings=2, version=VersionKey("x", "2")
            ),
            other,
        ]
    )
    joined = measured(memory_mib=100, gpu_memory_mib=7, readings=5).model_copy(
        update={"version": VersionKey("x", "2"), "last_at": examples_of.NOON + 2 * HOUR}
    )
    assert await registry.measures() == [joined, other]
    assert await registry.measures(B) == [other]
    assert await registry.measures("sha256:" + "c" * 64) == []
    await registry.add_measures([measured(B, 3, settings="t", memory_mib=5)])
    (mended,) = await registry.measures(B)
    assert (mended.memory_mib, mended.memory_unread, mended.readings) == (5, "", 2)


async def test_other_settings_are_kept_apart_and_outlive_their_version(
    registry: SqlRegistry,
) -> None:
    await registry.add_version(examples_of.version(), [])
    await registry.add_measures([measured(), measured(settings="other", memory_mib=1)])
    await registry.delete_version(IRIS)
    assert {each.settings for each in await registry.measures(A)} == {"s", "other"}


async def test_measures_are_kept_up_to_a_bound(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "KEPT", 2)
    for number in range(4):
        await registry.add_measures([measured(hours=number, settings=str(number))])
    assert [each.settings for each in await registry.measures()] == ["3", "2"]


async def test_a_plan_is_replaced_with_its_nodes(registry: SqlRegistry) -> None:
    version = examples_of.version()
    await registry.add_version(version, [])
    revision = await registry.revision()
    moved = placed(version, "there")
    plan = HardwarePlan(memory_measured_mib=7)
    assert await registry.save_plan(moved, plan, asleep=False)
    found = (await registry.version(IRIS)).version.placement
    assert (found.plan, found.nodes) == (plan, moved.placement.nodes)
    assert (await registry.models())[0].versions[0].version.placement == found
    assert await registry.revision() == revision


async def test_a_plan_is_replaced_only_of_the_same_version_and_if_wished_while_it_sleeps(
    registry: SqlRegistry,
) -> None:
    version = examples_of.version()
    assert not await registry.save_plan(version, HardwarePlan(), asleep=False)
    await registry.add_version(version, [])
    anew = version.model_copy(update={"created_at": examples_of.NOON + HOUR})
    plan = HardwarePlan(memory_measured_mib=7)
    assert not await registry.save_plan(anew, plan, asleep=False)
    assert not await registry.save_plan(version, plan, asleep=True)
    assert (await registry.version(IRIS)).version.placement.plan == HardwarePlan()
    await registry.set_wish(IRIS, Wish.SLEEP, "a test")
    assert await registry.save_plan(version, plan, asleep=True)
    assert (await registry.version(IRIS)).version.placement.plan == plan


def placed(version: Version, node: str) -> Version:
    nodes = (RankedNode(name=node, score=1),)
    placement = version.placement.model_copy(update={"nodes": nodes})
    return version.model_copy(update={"placement": placement})
