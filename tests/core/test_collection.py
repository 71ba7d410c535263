from datetime import timedelta

import pytest
from examples_of import NOON, version

from longshore import Load, VersionKey
from longshore.core.collection import Collection, deletable, judge, unused
from longshore.core.types import (
    Collected,
    ImageFate,
    Model,
    Shadow,
    State,
    TrafficRule,
    VersionRecord,
    VersionStatus,
    Wish,
)

LONG_AGO = NOON - timedelta(days=100)
OLD, NEW = VersionKey("iris", "1"), VersionKey("iris", "2")


def record(number: str, **fields: object) -> VersionRecord:
    registered = version("iris", number).model_copy(
        update={"created_at": fields.pop("created_at", LONG_AGO)}
    )
    spec = registered.spec.model_copy(update={"retention": fields.pop("retention", None)})
    digest = fields.pop("digest", f"sha256:{number * 64}")
    image = registered.image.model_copy(update={"digest": digest, "size_bytes": 1000})
    registered = registered.model_copy(update={"spec": spec, "image": image})
    return VersionRecord.model_validate({"version": registered, **fields})


def model(*records: VersionRecord, traffic: TrafficRule | None = None) -> Model:
    return Model(
        name="iris", traffic=traffic or TrafficRule(), created_at=LONG_AGO, versions=records
    )


def judged(
    *models: Model,
    retention: float = 30,
    loads: dict[VersionKey, Load] | None = None,
    woken_days_ago: float | None = None,
) -> Collection:
    woken = {} if woken_days_ago is None else {OLD: NOON - timedelta(days=woken_days_ago)}
    return judge(models, loads=loads or {}, woken=woken, retention=retention, now=NOON)


def load(days_ago: float, **fields: object) -> dict[VersionKey, Load]:
    when = NOON - timedelta(days=days_ago)
    return {OLD: Load.model_validate({"key": OLD, "last_request_at": when, **fields})}


def going(collection: Collection) -> list[VersionKey]:
    return [each.key for each in collection.going]


def why(collection: Collection, key: VersionKey = OLD) -> str:
    return next(each.why for each in collection.verdicts if each.key == key)


def test_what_nobody_called_for_its_retention_goes_and_says_why() -> None:
    found = judged(model(record("1"), record("2")))
    assert going(found) == [OLD]
    assert why(found) == "nobody called it for 100 days, and it is kept for 30 days"
    assert found.going[0].last_used == LONG_AGO


READY, FAILED, STARTING, ASLEEP = (
    VersionStatus(state=each) for each in (State.READY, State.FAILED, State.STARTING, State.ASLEEP)
)


@pytest.mark.parametrize(
    ("old", "new", "stay"),
    [
        (READY, READY, "2"),
        (READY, ASLEEP, "2"),
        (READY, FAILED, "12"),
        (ASLEEP, FAILED, "12"),
        (READY, STARTING, "12"),
        (FAILED, FAILED, "2"),
        (FAILED, READY, "2"),
    ],
)
def test_what_gets_the_requests_that_name_no_version_stays(
    old: VersionStatus, new: VersionStatus, stay: str
) -> None:
    found = judged(model(record("1", status=old), record("2", status=new)))
    assert {each.key.version for each in found.verdicts if not each.collect} == set(stay)
    kept = "it gets the requests that name no version"
    assert why(found, NEW) == kept if stay == "2" else f"{kept} as soon as it is ready"
    assert stay == "2" or why(found, OLD) == kept


def test_what_would_get_them_if_collected_ones_were_not_there_stays() -> None:
    found = judged(model(record("1", status=READY), record("2", wish=Wish.COLLECT)))
    assert going(found) == []


def test_a_sleeping_version_gets_them_as_well() -> None:
    asleep = record("2", wish=Wish.SLEEP, status=READY)
    assert going(judged(model(record("1", status=READY), asleep))) == [OLD]


@pytest.mark.parametrize(
    "traffic",
    [
        TrafficRule(weights={"1": 1, "2": 9}),
        TrafficRule(weights={"1": 0, "2": 9}),
        TrafficRule(shadow=Shadow(version="1")),
    ],
)
def test_what_the_traffic_rule_names_stays(traffic: TrafficRule) -> None:
    found = judged(model(record("1"), record("2"), traffic=traffic))
    assert OLD not in going(found)
    assert why(found) == "the traffic rule of its model names it"


def test_with_weights_the_newest_may_go() -> None:
    found = judged(model(record("1"), record("2"), traffic=TrafficRule(weights={"1": 1})))
    assert going(found) == [NEW]


def test_what_is_pinned_stays() -> None:
    found = judged(model(record("1", pinned=True), record("2")))
    assert going(found) == []
    assert why(found) == "it is pinned"


@pytest.mark.parametrize(("days", "stays"), [(29.9, True), (30.1, False)])
def test_what_was_called_lately_stays(days: float, stays: bool) -> None:
    found = judged(model(record("1"), record("2")), loads=load(days))
    assert (OLD not in going(found)) == stays
    assert not stays or why(found) == "it was used 29.9 days ago, and is kept for 30 days"


def test_an_answer_counts_as_much_as_a_request() -> None:
    found = judged(model(record("1"), record("2")), loads=load(40, last_answer_at=NOON))
    assert going(found) == []


def test_what_was_woken_lately_stays() -> None:
    models = model(record("1"), record("2"))
    assert going(judged(models, woken_days_ago=29)) == []
    assert going(judged(models, woken_days_ago=31)) == [OLD]


def test_what_was_registered_lately_stays() -> None:
    lately = record("1", created_at=NOON - timedelta(days=3))
    assert going(judged(model(lately, record("2")))) == []


@pytest.mark.parametrize("fields", [{"in_flight": 1}, {"held": 1}])
def test_what_is_being_called_stays(fields: dict[str, int]) -> None:
    found = judged(model(record("1"), record("2")), loads=load(99, **fields))
    assert why(found) == "requests to it are under way"


@pytest.mark.parametrize(
    ("own", "platform", "goes"),
    [(None, 30, True), (None, 0, False), (0, 30, False), (200, 30, False), (10, 0, True)],
)
def test_a_version_s_own_retention_wins(own: float | None, platform: float, goes: bool) -> None:
    found = judged(model(record("1", retention=own), record("2")), retention=platform)
    assert (going(found) == [OLD]) == goes


def test_what_is_collected_is_not_judged_again() -> None:
    found = judged(model(record("1", wish=Wish.COLLECT), record("2")))
    assert [each.key for each in found.verdicts] == [NEW]


def test_those_that_go_come_first_and_the_longest_unused_of_them_before() -> None:
    older = record("1", created_at=NOON - timedelta(days=60))
    found = judged(model(older, record("2"), record("3")))
    assert [each.key.version for each in found.verdicts] == ["2", "1", "3"]


def test_an_image_that_another_version_goes_on_with_frees_nothing() -> None:
    same = "sha256:" + "f" * 64
    apart = judged(model(record("1"), record("2")))
    shared = judged(model(record("1", digest=same), record("2", digest=same)))
    assert apart.going[0].size_bytes == 1000
    assert shared.going[0].size_bytes == 0


def test_images_that_only_collected_versions_have() -> None:
    same, wish = "sha256:" + "f" * 64, Wish.COLLECT
    alone = record("1", wish=wish)
    shared = record("2", wish=wish, digest=same)
    found = unused([model(alone, shared, record("3", digest=same))])
    assert found == {alone.version.image.digest: [alone]}


def test_times_below_a_day_are_told_in_units_that_tell_something() -> None:
    models = model(record("1", retention=0.0001), record("2"))
    lately = judged(models, loads=load(0.00008))
    assert why(lately) == "it was used 6.9 seconds ago, and is kept for 8.6 seconds"
    past = judged(models, loads=load(0.5))
    assert why(past) == "nobody called it for 12 hours, and it is kept for 8.6 seconds"


SAME = "sha256:" + "f" * 64


def collected(number: str, image: ImageFate, **fields: object) -> VersionRecord:
    word = Collected(at=LONG_AGO, why="a test", image=image)
    return record(number, wish=Wish.COLLECT, collected=word, digest=SAME, **fields)


GOES = collected("1", ImageFate.GOES)


@pytest.mark.parametrize(
    ("other", "deleted"),
    [
        (None, True),
        (collected("2", ImageFate.GOES), True),
        (collected("2", ImageFate.DELETED), True),
        (collected("2", ImageFate.STAYS), False),
        (collected("2", ImageFate.GOES, pinned=True), False),
        (record("2", wish=Wish.COLLECT, digest=SAME), False),
        (record("2", wish=Wish.SLEEP, digest=SAME), False),
        (record("2", digest=SAME), False),
    ],
)
def test_an_image_is_deleted_where_every_version_that_has_it_lets_it_go(
    other: VersionRecord | None, deleted: bool
) -> None:
    # In another model, for a digest is a digest.
    models = [model(GOES), *([model(other)] if other else [])]
    assert (SAME in deletable(models)) == deleted


def test_what_was_deleted_is_not_deleted_again() -> None:
    # Somebody may have pushed it since.
    assert not deletable([model(collected("1", ImageFate.DELETED))])


@pytest.mark.parametrize(("deletes", "lost"), [(True, (OLD,)), (False, ())])
def test_a_plan_tells_whose_images_are_deleted(deletes: bool, lost: tuple[VersionKey]) -> None:
    found = judge(
        [model(record("1"), record("2"))],
        loads={},
        woken={},
        retention=30,
        now=NOON,
        deletes=deletes,
    )
    assert (going(found), found.without_image) == ([OLD], lost)


def test_a_plan_tells_so_of_earlier_ones_too_that_have_the_same() -> None:
    models = [model(GOES, record("2", digest=SAME), record("3"))]
    found = judge(models, loads={}, woken={}, retention=30, now=NOON, deletes=True)
    assert found.without_image == (OLD, NEW)
