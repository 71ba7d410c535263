"""Traffic rules: what they may say, what is left of one, and what to warn of."""

from typing import Any

import examples_of
import pytest
from pydantic import ValidationError

from longshore.core.traffic import versions_in, warnings, without
from longshore.core.types import Model, Shadow, State, TrafficRule, VersionRecord, Wish

READY = State.READY


def model(rule: TrafficRule, states: dict[str, State], wish: Wish = Wish.RUN) -> Model:
    records = []
    for number, state in states.items():
        record = VersionRecord(version=examples_of.version("iris", number))
        status = record.status.model_copy(update={"state": state})
        records.append(record.model_copy(update={"status": status, "wish": wish}))
    return Model(name="iris", traffic=rule, created_at=examples_of.NOON, versions=tuple(records))


def test_a_rule_of_an_earlier_release_is_read_as_it_was_meant() -> None:
    rule = TrafficRule.model_validate_json('{"weights":{"1":90,"2":10}}')
    assert (rule.weights, rule.sticky, rule.shadow) == ({"1": 90, "2": 10}, None, None)


def test_a_sticky_header_is_kept_in_lowercase() -> None:
    assert TrafficRule(sticky="X-User-Id").sticky == "x-user-id"


@pytest.mark.parametrize(
    "rule",
    [
        {"shadow": {"version": "3", "percent": 0}},
        {"shadow": {"version": "3", "percent": 100.1}},
        {"shadow": {"version": ".."}},
        {"shadow": {"percent": 50}},
        {"shadow": {"version": "3", "share": 50}},
        {"sticky": ""},
        {"sticky": "connection"},
        {"sticky": ["x-user-id"]},
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrafficRule.model_validate(rule)


def test_a_rule_names_each_version_once() -> None:
    rule = TrafficRule(weights={"2": 1, "1": 0}, shadow=Shadow(version="1"))
    assert versions_in(rule) == ["2", "1"]
    assert versions_in(TrafficRule(shadow=Shadow(version="3"))) == ["3"]
    assert versions_in(TrafficRule()) == []


def test_what_is_left_of_a_rule() -> None:
    rule = TrafficRule(weights={"1": 9, "2": 1}, sticky="a", shadow=Shadow(version="2"))
    assert without(rule, "1") == TrafficRule(
        weights={"2": 1}, sticky="a", shadow=Shadow(version="2")
    )
    assert without(rule, "2") == TrafficRule(weights={"1": 9}, sticky="a")
    assert without(TrafficRule(weights={"1": 1, "2": 0}), "1") == TrafficRule()


@pytest.mark.parametrize(
    ("rule", "states", "told"),
    [
        ({"weights": {"1": 9, "2": 1}}, {"1": READY, "2": READY}, []),
        ({"weights": {"1": 9, "2": 0}}, {"1": READY, "2": State.FAILED}, []),
        (
            {"weights": {"1": 9, "2": 1}},
            {"1": READY, "2": State.FAILED},
            [
                (
                    "iris:2 has failed, so that 10.0% of the requests get 503 for now: "
                    "longshore show iris:2 tells more."
                )
            ],
        ),
        (
            {"weights": {"1": 1}, "shadow": {"version": "2"}},
            {"1": READY, "2": State.ASLEEP},
            [
                (
                    "iris:2 is asleep, so that copies for it come to nothing: "
                    "longshore wake iris:2 starts it."
                )
            ],
        ),
        # The first request wakes it.
        ({"weights": {"1": 1}}, {"1": State.ASLEEP}, []),
        (
            {"weights": {"1": 1}, "shadow": {"version": "2"}},
            {"1": READY, "2": State.PULLING},
            [
                (
                    "iris:2 is pulling, so that copies for it come to nothing: "
                    "longshore show iris:2 tells more."
                )
            ],
        ),
        (
            {"weights": {"1": 1}, "shadow": {"version": "1"}},
            {"1": READY, "2": READY},
            ["iris:1 answers all requests itself, so that none is copied to it."],
        ),
        (
            {"shadow": {"version": "1"}},
            {"1": READY},
            ["iris:1 answers all requests itself, so that none is copied to it."],
        ),
        (
            {"sticky": "a"},
            {"1": READY},
            ["Without weights one version gets all requests, so that a decides nothing."],
        ),
    ],
)
def test_a_warning_is_one_sentence(
    rule: dict[str, Any], states: dict[str, State], told: list[str]
) -> None:
    assert warnings(model(TrafficRule.model_validate(rule), states)) == told


def test_a_version_that_is_about_to_sleep_counts_as_asleep() -> None:
    assert not warnings(model(TrafficRule(weights={"1": 1}), {"1": State.STARTING}, Wish.SLEEP))
