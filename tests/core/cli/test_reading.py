import json
from datetime import UTC, datetime, timedelta

import pytest
from examples_of import NOON, version
from parts.cli_program import Call
from parts.management_api import StandIn

from longshore.core.types import Decision, Event, Model, VersionRecord
from longshore.core.words.text import moment


def test_models_are_one_line_for_each_version(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.add("iris", "2", state="failed", replicas=2, ready=0, reason="out\nof memory")
    heading, first, second = call("models").stdout.splitlines()
    assert heading.split() == ["MODEL", "VERSION", "STATE", "READY", "IMAGE", "AGE", "REASON"]
    assert first.split()[:5] == ["iris", "1", "ready", "1/1", "localhost:5001/iris:1"]
    assert second.split()[:4] == ["iris", "2", "failed", "0/2"]
    assert second.endswith("out of memory")
    assert heading.index("REASON") == second.index("out of")


def test_no_models_is_said_and_is_no_error(call: Call) -> None:
    ended = call("models")
    assert ended.exit_code == 0
    assert "longshore register" in ended.stdout
    assert json.loads(call("models", "--json").stdout) == {"models": []}


def test_json_has_the_names_of_the_api(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    [model] = json.loads(call("models", "--json").stdout)["models"]
    assert Model.model_validate(model).versions == (api.records[key],)
    shown = json.loads(call("show", "iris", "--json").stdout)
    [wake] = shown.pop("wakes")
    assert shown.pop("wake_seconds") == {"p50": None, "p95": None}
    assert VersionRecord.model_validate(shown) == api.records[key]
    assert wake["reason"] == "woken"
    [event] = json.loads(call("events", "--json").stdout)["events"]
    assert Event.model_validate(event).key == key
    decisions = json.loads(call("explain", "iris", "--json").stdout)["decisions"]
    assert [Decision.model_validate(each).plugin for each in decisions] == [
        "images",
        "hardware_plan",
    ]


def test_show_tells_everything(call: Call, api: StandIn) -> None:
    api.add(
        "iris", "1", state="failed", reason="it ended", exit_code=3, log_tail=["last \x1b[1mword"]
    )
    shown = call("show", "iris:1").stdout
    for each in (
        "iris:1 is failed, for ",
        "wish: run",
        "reason: it ended",
        "exit code: 3",
        "last word",
        "runs: localhost:5001/iris@sha256:" + "a" * 64,
        "contract: generic",
        "why: an example",
        "confidence: inferred",
        "backend: engine",
        "here, score 50",
        "concurrency: 128",
        "not ready yet; woken",
        "GPUs: none",
    ):
        assert each in shown, shown


def test_show_names_variables_as_they_are_called(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    record = api.records[key]
    spec = record.version.spec.model_copy(update={"env": {"MODEL_SIZE": "small"}})
    plan = record.version.placement.plan.model_copy(update={"env": {"OMP_NUM_THREADS": "2"}})
    placement = record.version.placement.model_copy(update={"plan": plan})
    version = record.version.model_copy(update={"spec": spec, "placement": placement})
    api.records[key] = record.model_copy(update={"version": version})
    shown = call("show", "iris:1").stdout
    assert "MODEL_SIZE=small" in shown
    assert "environment: OMP_NUM_THREADS=2" in shown


def test_explain_tells_hook_plugin_outcome_inputs_and_why_in_order(
    call: Call, api: StandIn
) -> None:
    api.add("iris", "1")
    lines = call("explain", "iris:1").stdout.splitlines()
    when = moment(NOON)
    assert lines == [
        f" 1. longshore_resolve_image by images, {when}",
        "    localhost:5001/iris@sha256:" + "a" * 64,
        "    from: reference = localhost:5001/iris:1",
        "    why: what the reference named",
        f" 2. longshore_plan_hardware by hardware_plan, {when}",
        "    processors: any",
        "    GPUs: none",
        "    CPU: no limit",
        "    memory: no limit",
    ]


def test_events_of_all_or_of_one(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.add("wine", "1")
    assert len(call("events").stdout.splitlines()) == 3
    assert "1 replica is ready" in call("events", "wine:1", "--limit", "5").stdout
    assert api.requests[-1].path == "/api/events?limit=5&version=wine%3A1"


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("daily 00:00-24:00 UTC", "kept warm: until 20"),
        # No day is both today and, by any clock, the day after tomorrow.
        ("{} 00:00-01:00 UTC", "kept warm: from 20"),
    ],
)
def test_show_tells_when_a_version_is_kept_warm(
    call: Call, api: StandIn, window: str, told: str
) -> None:
    key = api.add("iris", "1")
    window = window.format(f"{datetime.now(UTC) + timedelta(days=2):%a}".lower())
    warm = version(scaling={"min": 0, "warm": [window]})
    api.records[key] = api.records[key].model_copy(update={"version": warm})
    [line] = [each for each in call("show", "iris:1").stdout.splitlines() if "kept warm" in each]
    assert told in line
    assert line.endswith(f"({window})")


def test_show_lists_the_versions_of_a_model_with_several(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.add("iris", "2")
    shown = call("show", "iris")
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [
        ["iris", "1"],
        ["iris", "2"],
    ]
    listed = json.loads(call("show", "iris", "--json").stdout)["versions"]
    assert len(listed) == 2


@pytest.mark.parametrize("name", ["explain", "sleep", "wake"])
def test_a_name_alone_means_its_only_version(call: Call, api: StandIn, name: str) -> None:
    api.add("iris", "1")
    assert call(name, "iris").exit_code == 0
    api.add("iris", "2")
    ended = call(name, "iris")
    assert ended.exit_code == 2
    assert ended.stderr.splitlines()[1] == "Hint: Name one of them: iris:1, iris:2"


def test_a_model_that_is_not_there_is_told(call: Call, api: StandIn) -> None:
    ended = call("show", "irs")
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        "Error: there is no model 'irs'.",
        "Hint: Did you mean iris?",
    ]
