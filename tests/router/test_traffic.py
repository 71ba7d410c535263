"""Sticky requests: the choosing by itself, and both ways of a request on real sockets."""

import math
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.routed import Routed, hooks_of, model_route, route

from longshore.core.types import TrafficRule
from longshore.plugins import balancing
from longshore.router.headers import combined
from longshore.router.lane.sticky import header_of
from longshore.router.lane.wire import parse_request
from longshore.router.table import Table
from longshore.router.traffic import Sticky

CALLERS = [b"user-%d" % number for number in range(20_000)]


def sticky(weights: Mapping[str, int], model: str = "iris") -> Sticky[str]:
    shares = [(version, weight, version) for version, weight in weights.items() if weight]
    return Sticky(model, "x-user-id", shares)


def chosen(weights: Mapping[str, int], model: str = "iris") -> list[str]:
    one = sticky(weights, model)
    return [one.choose(each) for each in CALLERS]


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> Counter[tuple[str, str]]:
    """Return how many callers go from which version to which other."""
    pairs = zip(chosen(before), chosen(after), strict=True)
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def least(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Return the share of callers that must move, whatever the method."""
    old, new = sum(before.values()), sum(after.values())
    versions = before.keys() | after.keys()
    return sum(max(0.0, after.get(each, 0) / new - before.get(each, 0) / old) for each in versions)


@pytest.mark.parametrize(
    "weights",
    [
        {"1": 90, "2": 10},
        {"1": 1, "2": 1, "3": 1},
        {"1": 999_999, "2": 1_000_000, "3": 1},
        {"1": 50, "2": 30, "3": 15, "4": 5},
        {str(number): number for number in range(1, 21)},
    ],
)
def test_shares_match_the_weights(weights: dict[str, int]) -> None:
    seen = Counter(chosen(weights))
    total = sum(weights.values())
    for version, weight in weights.items():
        share = weight / total
        # Five standard deviations; what is drawn is always the same, so it cannot flake.
        room = 5 * math.sqrt(share * (1 - share) * len(CALLERS)) + 1
        assert seen[version] == pytest.approx(share * len(CALLERS), abs=room)


def test_the_choice_is_the_same_in_every_process_and_every_release() -> None:
    # Computed once. Whoever changes these moves the callers of everybody who upgrades.
    weights = {"1": 60, "2": 30, "3": 10}
    assert "".join(chosen(weights)[:40]) == "1113113111311212113111331221321211311221"
    assert Counter(chosen(weights)) == {"1": 11929, "2": 6069, "3": 2002}


SHIFTS = [
    ({"1": 90, "2": 10}, {"1": 80, "2": 20}),
    ({"1": 90, "2": 10}, {"1": 50, "2": 50}),
    ({"1": 100}, {"1": 95, "2": 5}),
    ({"1": 90, "2": 10}, {"1": 90, "2": 10, "3": 10}),
    ({"1": 50, "2": 30, "3": 20}, {"2": 30, "3": 20}),
    ({"1": 50, "2": 30, "3": 20}, {"1": 50, "3": 20}),
    ({"1": 90, "2": 10}, {"1": 80, "2": 10, "3": 10}),
]


@pytest.mark.parametrize(("before", "after"), SHIFTS)
def test_a_change_of_weights_moves_hardly_more_callers_than_it_must(
    before: dict[str, int], after: dict[str, int]
) -> None:
    share = moved(before, after).total() / len(CALLERS)
    assert share <= 1.15 * least(before, after) + 0.005


def test_the_same_weights_written_otherwise_move_nobody() -> None:
    assert not moved({"1": 90, "2": 10}, {"2": 1, "1": 9})
    assert not moved({"1": 90, "2": 10}, {"1": 90, "3": 0, "2": 10})


weights_of = st.dictionaries(
    st.sampled_from("123456"), st.integers(1, 1_000_000), min_size=2, max_size=6
)


@given(weights_of, st.integers(0, 1_000_000), st.data())
@settings(max_examples=60, deadline=None)
def test_who_moves_comes_to_what_grew_or_leaves_what_shrank(
    before: dict[str, int], weight: int, data: st.DataObject
) -> None:
    version = data.draw(st.sampled_from(sorted(before)))
    after = {**before, version: weight}
    old, new = sticky(before), sticky(after)
    for caller in CALLERS[:300]:
        pair = old.choose(caller), new.choose(caller)
        if pair[0] != pair[1]:
            assert pair[weight > before[version]] == version


@given(weights_of, st.binary(min_size=1, max_size=200))
def test_any_value_gets_one_of_the_versions_and_always_the_same(
    weights: dict[str, int], value: bytes
) -> None:
    one = sticky(weights).choose(value)
    assert one in weights
    assert sticky(dict(reversed(weights.items()))).choose(value) == one


def test_whoever_is_early_in_one_model_is_not_so_in_all() -> None:
    weights = {"1": 90, "2": 10}
    pairs = zip(chosen(weights), chosen(weights, model="wine"), strict=True)
    both = sum(pair == ("2", "2") for pair in pairs) / len(CALLERS)
    assert both == pytest.approx(0.01, abs=0.005)


def rule(*weights: int, header: str = "x-user-id") -> TrafficRule:
    shares = {str(number): weight for number, weight in enumerate(weights, start=1)}
    return TrafficRule(weights=shares, sticky=header)


async def test_a_request_without_the_header_is_drawn_at_random() -> None:
    draws = iter([0.89, 0.91, 0.91])
    table = Table(hooks_of(balancing), draw=lambda: next(draws))
    await table.update(model_route(route(), route(number="2"), rule=rule(90, 10)))
    assert table.choose("iris").key.version == "1"
    assert table.choose("iris", lambda _: None).key.version == "2"
    assert table.choose("iris", lambda _: b"").key.version == "2", "an empty value is none"


async def test_a_version_that_left_the_table_leaves_its_callers_to_the_others() -> None:
    table = Table(hooks_of(balancing))
    await table.update(model_route(route(), route(number="2"), rule=rule(40, 30, 30)))
    before = chosen({"1": 40, "2": 30, "3": 30})
    for caller, version in zip(CALLERS[:200], before, strict=False):
        found = table.choose("iris", {b"x-user-id": caller}.get)
        assert version in {found.key.version, "3"}


@pytest.mark.parametrize("lane", [True, False])
async def test_callers_keep_their_version_on_both_ways(
    router: Routed, taken: list[bool], *, lane: bool
) -> None:
    replicas = [await router.replica() for _ in range(2)]
    versions = [route(each, number=number) for each, number in zip(replicas, "12", strict=True)]
    await router.table.update(model_route(*versions, rule=rule(1, 1)))
    # What the lane leaves to the long way.
    unusual = {} if lane else {"te": "trailers"}
    expected = dict(zip(CALLERS, chosen({"1": 1, "2": 1}), strict=True))
    for caller in CALLERS[:20]:
        for name in ("x-user-id", "X-User-ID"):
            answer = await router.http.post(
                "/v1/models/iris/predict",
                content=b"[1]",
                headers={name: caller.decode(), **unusual},
            )
            assert answer.headers["x-longshore-version"] == f"iris:{expected[caller]}"
    assert len(taken) == (40 if lane else 0)
    assert all(taken)
    answers = [
        await router.http.post("/v1/predict", json=asked, headers={"x-user-id": "user-7"})
        for asked in [{"model": "iris", "features": []}] * 5
    ]
    assert {each.json()["version"] for each in answers} == {expected[b"user-7"]}


async def test_a_named_version_is_never_exchanged_for_the_sticky_one(router: Routed) -> None:
    replica = await router.replica()
    versions = [route(replica), route(replica, number="2")]
    await router.table.update(model_route(*versions, rule=rule(0, 1)))
    answer = await router.http.post(
        "/v1/models/iris/versions/1/predict", content=b"1", headers={"x-user-id": "a"}
    )
    assert answer.headers["x-longshore-version"] == "iris:1"


FIELDS = [
    [("X-User-Id", "a")],
    [("x-user-id", "\ta b "), ("X-USER-ID", "c"), ("x-user-id", "")],
    [("x-user-ids", "a"), ("ax-user-id", "b"), ("x-user", "x-user-id: c")],
    [("x-user-id", "")],
    [("x-request-id", "a")],
    [("x-forwarded-for", "10.0.0.1"), ("X-Forwarded-For", "10.0.0.2")],
    [("x-forwarded-host", "a"), ("x-forwarded-proto", "https")],
    [("x-user-id", "\xfc")],
    [],
]


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize(
    "name",
    ["x-user-id", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"],
)
def test_both_ways_read_a_header_alike(fields: list[tuple[str, str]], name: str) -> None:
    lines = "".join(f"{each}: {value}\r\n" for each, value in fields).encode("latin-1")
    head = parse_request(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n"
        + lines
        + b"\r\n"
    )
    assert head
    raw = [(each.lower().encode(), value.encode("latin-1")) for each, value in fields]
    assert header_of(head, name.encode()) == combined(raw, name.encode())
