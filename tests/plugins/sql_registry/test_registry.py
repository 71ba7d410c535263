"""What ``core.protocols.Registry`` promises, on both databases."""

import time
from datetime import UTC, datetime, timedelta, timezone

import examples_of
import pytest
from parts.stored import IRIS, MINUTE, add, decision

from longshore.core.errors import Conflict, NotFound
from longshore.core.names import VersionKey
from longshore.core.types import (
    Collected,
    Event,
    ImageFate,
    LeftImage,
    Load,
    Progress,
    Shadow,
    State,
    TrafficRule,
    VersionStatus,
    Wish,
)
from longshore.plugins.sql_registry.registry import SqlRegistry

# --- Versions ---------------------------------------------------------------------------------


async def test_a_version_comes_back_as_it_was_stored(registry: SqlRegistry) -> None:
    version = examples_of.version(
        env={"ZEBRA": "1", "APPLE": "\0 'quoted\" \N{SNOWMAN}"},
        command=["serve", "--now"],
        resources={"cpu": "500m", "memory": "1Gi"},
        scaling={"min": 0, "max": 4},
    )
    decisions = [decision(1), decision(2)]
    assert await registry.add_version(version, decisions)
    found = await registry.version(IRIS)
    assert found.version == version
    assert found.version.content == version.content
    assert (found.wish, found.status.state) == (Wish.RUN, State.PENDING)
    assert await registry.decisions(IRIS) == decisions


async def test_times_come_back_aware_and_in_utc(registry: SqlRegistry) -> None:
    created = datetime(2026, 3, 1, 1, 2, 3, 456789, timezone(timedelta(hours=5)))
    version = examples_of.version().model_copy(update={"created_at": created})
    await registry.add_version(version, [])
    model = await registry.model("iris")
    for found in (model.created_at, model.versions[0].version.created_at):
        assert found == created
        assert found.tzinfo is UTC


async def test_a_time_without_a_zone_is_refused_before_it_is_misread(registry: SqlRegistry) -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001 - the very mistake
    version = examples_of.version().model_copy(update={"created_at": naive})
    with pytest.raises(Exception, match="has no time zone"):
        await registry.add_version(version, [])
    assert await registry.models() == []


async def test_registering_the_same_again_changes_nothing(registry: SqlRegistry) -> None:
    first = examples_of.version(env={"A": "1"})
    await registry.add_version(first, [decision(1)])
    before = await registry.models()
    later = first.model_copy(update={"created_at": first.created_at + MINUTE})
    assert await registry.add_version(later, [decision(2)]) is False
    assert await registry.models() == before
    assert len(await registry.decisions(IRIS)) == 1


async def test_another_tag_of_the_same_image_is_the_same(registry: SqlRegistry) -> None:
    await registry.add_version(examples_of.version(), [])
    assert not await registry.add_version(examples_of.version(image="localhost:5001/iris:x"), [])


async def test_another_order_of_settings_is_the_same(registry: SqlRegistry) -> None:
    await registry.add_version(examples_of.version(env={"A": "1", "B": "2"}), [])
    assert not await registry.add_version(examples_of.version(env={"B": "2", "A": "1"}), [])


async def test_other_settings_conflict_by_name_and_without_their_values(
    registry: SqlRegistry,
) -> None:
    await registry.add_version(examples_of.version(env={"TOKEN": "s3cret", "KEPT": "1"}), [])
    await add(registry, "7")
    before = await registry.models()
    other = examples_of.version(env={"TOKEN": "hunter2", "KEPT": "1"}, scaling={"max": 3})
    with pytest.raises(Conflict) as caught:
        await registry.add_version(other, [decision()])
    assert caught.value.message == (
        "iris:1 is already registered with other content: settings differ: env.TOKEN, scaling.max"
    )
    assert caught.value.hint == (
        "A version never changes. Register this one under a new number, such as 8."
    )
    assert await registry.models() == before
    assert await registry.decisions(IRIS) == []


async def test_another_image_conflicts_by_its_digest(registry: SqlRegistry) -> None:
    await registry.add_version(examples_of.version(number="main"), [])
    other = examples_of.version(number="main").model_copy(update={"image": examples_of.image("b")})
    with pytest.raises(Conflict) as caught:
        await registry.add_version(other, [])
    old, new = ("localhost:5001/iris@sha256:" + digit * 64 for digit in "ab")
    assert caught.value.message.endswith(f"its image is {old}, not {new}")
    assert caught.value.hint == "A version never changes. Register this one under a new number."


async def test_versions_come_oldest_first_and_models_by_name(registry: SqlRegistry) -> None:
    # A database's locale may order "a-b" after "ab", and its planner in any way at all.
    await add(registry, "2", "10", "1", name="ab")
    await add(registry, "1", name="a-b")
    found = await registry.models()
    assert [model.name for model in found] == ["a-b", "ab"]
    assert [record.version.key.version for record in found[1].versions] == ["2", "10", "1"]
    assert found[1] == await registry.model("ab")


async def test_a_missing_name_gets_the_nearest_ones(registry: SqlRegistry) -> None:
    with pytest.raises(NotFound, match="there is no model 'iris'") as caught:
        await registry.model("iris")
    assert "longshore register" in caught.value.hint
    await add(registry, "1", "2")
    await add(registry, "1", name="wine")
    with pytest.raises(NotFound) as caught:
        await registry.model("irsi")
    assert caught.value.nearest == ("iris",)
    assert caught.value.hint == "Did you mean iris?"
    with pytest.raises(NotFound) as caught:
        await registry.version(VersionKey("iris", "3"))
    assert set(caught.value.nearest) == {"iris:1", "iris:2"}
    with pytest.raises(NotFound) as caught:
        await registry.version(VersionKey("wone", "1"))
    assert caught.value.nearest == ("wine:1",)
    with pytest.raises(NotFound, match=r"no model 'zzz\\x00\\ud800'") as caught:
        await registry.model("zzz\0\ud800")
    assert caught.value.nearest == ()


async def test_deleting_forgets_all_but_the_events(registry: SqlRegistry) -> None:
    await registry.add_version(examples_of.version(), [decision()])
    await registry.set_wish(IRIS, Wish.SLEEP, "")
    await registry.set_wish(IRIS, Wish.RUN, "a request")
    await registry.save_loads([Load(key=IRIS, held=3)])
    await registry.add_events([Event(kind="registered", key=IRIS, message="new")])
    assert await registry.delete_version(IRIS) is True
    assert await registry.delete_version(IRIS) is False
    assert await registry.models() == []
    assert await registry.loads() == {}
    assert len(await registry.events(IRIS)) == 1
    # Nothing of the old version sticks to a new one of the same number.
    await registry.add_version(examples_of.version(scaling={"max": 9}), [])
    assert await registry.decisions(IRIS) == []
    assert await registry.wakes(IRIS) == []
    assert await registry.loads() == {}
    assert (await registry.version(IRIS)).wish is Wish.RUN


async def test_a_model_lives_as_long_as_its_last_version(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    await registry.delete_version(IRIS)
    assert [each.version.key.version for each in (await registry.model("iris")).versions] == ["2"]
    await registry.delete_version(VersionKey("iris", "2"))
    with pytest.raises(NotFound):
        await registry.model("iris")


# --- Traffic, wish and status -----------------------------------------------------------------


async def test_traffic_is_replaced_as_a_whole(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    whole = TrafficRule(
        weights={"2": 10, "1": 90}, sticky="x-user-id", shadow=Shadow(version="2", percent=0.5)
    )
    await registry.set_traffic("iris", whole)
    assert (await registry.model("iris")).traffic == whole
    await registry.set_traffic("iris", TrafficRule(weights={"2": 1}))
    assert (await registry.model("iris")).traffic == TrafficRule(weights={"2": 1})


async def test_traffic_goes_to_versions_that_exist(registry: SqlRegistry) -> None:
    with pytest.raises(NotFound, match="no model 'iris'"):
        await registry.set_traffic("iris", TrafficRule())
    await add(registry, "1")
    with pytest.raises(NotFound, match="no version 'iris:2'") as caught:
        await registry.set_traffic("iris", TrafficRule(weights={"1": 1, "2": 1}))
    assert caught.value.nearest == ("iris:1",)
    with pytest.raises(NotFound, match="no version 'iris:3'"):
        await registry.set_traffic("iris", TrafficRule(shadow=Shadow(version="3")))
    assert (await registry.model("iris")).traffic == TrafficRule()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"1": 90, "2": 10, "3": 5}, {"2": 10, "3": 5}),
        ({"1": 90, "2": 0}, {}),
        ({"2": 1}, {"2": 1}),
    ],
)
async def test_a_deleted_version_leaves_the_traffic_rule(
    registry: SqlRegistry, before: dict[str, int], after: dict[str, int]
) -> None:
    await add(registry, "1", "2", "3")
    await registry.set_traffic("iris", TrafficRule(weights=before))
    await registry.delete_version(IRIS)
    assert (await registry.model("iris")).traffic.weights == after


async def test_a_deleted_version_is_no_shadow_any_more(registry: SqlRegistry) -> None:
    await add(registry, "1", "2", "3")
    rule = TrafficRule(weights={"2": 1}, sticky="x-user-id", shadow=Shadow(version="1"))
    await registry.set_traffic("iris", rule)
    await registry.delete_version(VersionKey("iris", "3"))
    assert (await registry.model("iris")).traffic == rule
    await registry.delete_version(IRIS)
    assert (await registry.model("iris")).traffic == TrafficRule(
        weights={"2": 1}, sticky="x-user-id"
    )


async def test_wish_and_status_never_overwrite_each_other(registry: SqlRegistry) -> None:
    await add(registry, "1", "2")
    status = VersionStatus(
        state=State.FAILED,
        reason="exits at once",
        log_tail=("Traceback\0", "\x1b[31mno"),
        exit_code=137,
        progress=Progress(what="pulling", done=1, total=2),
        retry_at=datetime.now(UTC),
    )
    await registry.set_wish(IRIS, Wish.SLEEP, "idle")
    await registry.save_status({IRIS: status})
    found = await registry.version(IRIS)
    assert (found.wish, found.status) == (Wish.SLEEP, status)
    await registry.set_wish(IRIS, Wish.RUN, "a request")
    found = await registry.version(IRIS)
    assert (found.wish, found.status) == (Wish.RUN, status)
    other = await registry.version(VersionKey("iris", "2"))
    assert (other.wish, other.status.state) == (Wish.RUN, State.PENDING)


async def test_statuses_of_versions_that_are_gone_are_passed_over(registry: SqlRegistry) -> None:
    await add(registry, "1")
    ready = VersionStatus(state=State.READY)
    await registry.save_status({VersionKey("gone", "1"): ready, IRIS: ready})
    await registry.save_status({})
    assert [each.name for each in await registry.models()] == ["iris"]
    assert (await registry.version(IRIS)).status == ready


async def test_a_wish_for_nobody_is_an_error(registry: SqlRegistry) -> None:
    await add(registry, "1")
    with pytest.raises(NotFound) as caught:
        await registry.set_wish(VersionKey("iris", "11"), Wish.SLEEP, "")
    assert caught.value.nearest == ("iris:1",)


# --- The installation, and how fast it is -----------------------------------------------------


async def test_the_installation_keeps_its_id(registry: SqlRegistry, url: str) -> None:
    first = await registry.installation()
    assert len(first) == 32
    again = SqlRegistry(url)
    await again.open()
    await again.open()
    assert await again.installation() == first
    await again.close()
    await again.close()


async def test_a_thousand_versions_are_read_and_written_fast(registry: SqlRegistry) -> None:
    for number in range(100):
        for version in range(10):
            env = {f"SETTING_{each}": "value" for each in range(10)}
            await registry.add_version(
                examples_of.version(f"model-{number}", str(version), env=env), [decision()]
            )
    started = time.process_time()
    found = await registry.models()
    took_models = time.process_time() - started
    keys = [record.version.key for model in found for record in model.versions]
    assert len(keys) == 1000
    started = time.process_time()
    await registry.save_status({key: VersionStatus(state=State.READY) for key in keys})
    await registry.save_loads([Load(key=key, rate=1) for key in keys])
    took_saving = time.process_time() - started
    assert len(await registry.loads()) == 1000
    assert took_models < 0.5
    assert took_saving < 0.5


async def test_a_pin_is_kept_and_taken_back(registry: SqlRegistry) -> None:
    await add(registry, "1")
    assert not (await registry.version(IRIS)).pinned
    for pinned in (True, True, False):
        await registry.set_pinned(IRIS, pinned=pinned)
        assert (await registry.version(IRIS)).pinned == pinned
    with pytest.raises(NotFound, match="there is no version"):
        await registry.set_pinned(VersionKey("iris", "2"), pinned=True)


async def test_why_a_version_was_collected_is_kept_until_it_is_wished_back(
    registry: SqlRegistry,
) -> None:
    await add(registry, "1")
    why = Collected(at=examples_of.NOON, why="a test", image=ImageFate.GOES)
    gone = why.model_copy(update={"image": ImageFate.DELETED})
    revision = await registry.revision()
    await registry.collect(IRIS, why)
    record = await registry.version(IRIS)
    assert (record.wish, record.collected) == (Wish.COLLECT, why)
    await registry.keep_collected({IRIS: gone, VersionKey("iris", "2"): gone})
    [model] = await registry.models()
    assert model.versions[0].collected == gone
    assert await registry.revision() == revision + 2
    await registry.set_wish(IRIS, Wish.RUN, "")
    # A word that comes late is for a version that is collected no more.
    await registry.keep_collected({IRIS: gone})
    record = await registry.version(IRIS)
    assert (record.wish, record.collected) == (Wish.RUN, None)
    await registry.keep_collected({})
    with pytest.raises(NotFound, match="there is no version"):
        await registry.collect(VersionKey("iris", "2"), why)


async def test_what_deleted_versions_left_is_known_until_it_is_forgotten(
    registry: SqlRegistry,
) -> None:
    await add(registry, "1", "2")
    assert await registry.left_images() == []
    for number in ("1", "2", "3"):
        await registry.delete_version(VersionKey("iris", number))
    image = examples_of.version().image
    [left] = await registry.left_images()
    assert left == LeftImage(backend="engine", reference=image.pinned)
    assert left.digest == image.digest
    for _ in range(2):
        await registry.forget_image(left)
    assert await registry.left_images() == []
