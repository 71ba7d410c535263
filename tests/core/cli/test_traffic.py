"""The command ``traffic``: what it changes, what it keeps, and how it says it."""

import json
from typing import Any

import pytest
from parts.cli_program import Call
from parts.management_api import StandIn

from longshore.core.types import Shadow, TrafficRule


@pytest.fixture(autouse=True)
def versions(api: StandIn) -> None:
    for number in "123":
        api.add("iris", number)


def test_weights_are_set_shown_and_cleared(call: Call, api: StandIn) -> None:
    assert "newest version that is ready gets" in call("traffic", "iris").stdout
    assert not api.asked("PUT"), "looking changes nothing"
    heading, first, second = call("traffic", "iris", "1=90", "2=30").stdout.splitlines()
    assert heading.split() == ["VERSION", "WEIGHT", "SHARE", "STATE"]
    assert first.split() == ["1", "90", "75.0%", "ready"]
    assert second.split() == ["2", "30", "25.0%", "ready"]
    assert api.rules["iris"] == TrafficRule(weights={"1": 90, "2": 30})
    call("traffic", "iris", "3=1")
    assert api.rules["iris"] == TrafficRule(weights={"3": 1}), "they replace all weights"
    assert "newest version that is ready gets" in call("traffic", "iris", "--clear").stdout
    assert api.rules["iris"] == TrafficRule()


def test_the_rule_in_words(call: Call, api: StandIn) -> None:
    ended = call("traffic", "iris", "1=9", "2=1", "--sticky", "X-User-Id", "--shadow", "3")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[3:] == [
        "Sticky: requests with the same x-user-id get the same version.",
        "Shadow: a copy of each request goes to version 3, whose answers are dropped.",
    ]
    assert call("traffic", "iris").stdout == ended.stdout
    api.rules["iris"] = TrafficRule(shadow=Shadow(version="3", percent=12.5))
    assert call("traffic", "iris").stdout.splitlines() == [
        "No weights: the newest version that is ready, 3 aside, gets all requests.",
        "Shadow: a copy of 12.5% goes to version 3, whose answers are dropped.",
    ]


def test_the_rule_as_json(call: Call, api: StandIn) -> None:
    assert json.loads(call("traffic", "iris", "1=1", "--shadow", "3=5", "--json").stdout) == {
        "weights": {"1": 1},
        "sticky": None,
        "shadow": {"version": "3", "percent": 5},
    }


def test_what_is_left_out_stays_as_it_is(call: Call, api: StandIn) -> None:
    whole = TrafficRule(weights={"1": 9, "2": 1}, sticky="a", shadow=Shadow(version="3"))
    api.rules["iris"] = whole
    changes: list[tuple[list[str], dict[str, Any]]] = [
        (["1=1", "2=1"], {"weights": {"1": 1, "2": 1}}),
        (["--sticky", "b"], {"sticky": "b"}),
        (["--no-sticky"], {"sticky": None}),
        (["--shadow", "2=50%"], {"shadow": Shadow(version="2", percent=50)}),
        (["--no-shadow"], {"shadow": None}),
        (["--no-shadow", "--no-sticky"], {"shadow": None, "sticky": None}),
    ]
    for arguments, changed in changes:
        api.rules["iris"] = whole
        assert call("traffic", "iris", *arguments).exit_code == 0
        assert api.rules["iris"] == whole.model_copy(update=changed), arguments
    call("traffic", "iris", "--clear")
    assert api.rules["iris"] == TrafficRule()


def test_what_an_older_platform_does_not_know_is_not_sent(call: Call, api: StandIn) -> None:
    call("traffic", "iris", "--clear")
    assert [json.loads(each.body) for each in api.asked("PUT")] == [{}]


def test_a_version_that_is_not_ready_is_warned_of(call: Call, api: StandIn) -> None:
    api.add("iris", "2", state="failed")
    ended = call("traffic", "iris", "1=90", "2=30", "--json")
    assert ended.exit_code == 0
    assert ended.stderr == (
        "Warning: iris:2 has failed, so that 25.0% of the requests get 503 for now: "
        "longshore show iris:2 tells more.\n"
    )
    assert json.loads(ended.stdout)["weights"] == {"1": 90, "2": 30}
    assert "Warning: iris:2 has failed" in call("traffic", "iris").stderr
