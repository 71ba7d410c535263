"""Decisions in words, as ``explain`` and a dry run print them."""

import time

import pytest
from examples_of import NOON
from pydantic import JsonValue  # noqa: TC002 - for annotations alone, as types of our own are

from longshore.core.cli.decisions import print_decisions
from longshore.core.names import VersionKey
from longshore.core.types import Decision, Load
from longshore.core.wishes import USER, wished


def test_explain_tells_in_words_what_programs_get_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    package: JsonValue = {"name": "torch", "version": "2.9.0", "path": "torch.dist-info/METADATA"}
    facts: JsonValue = {
        "gpu_need": "none",
        "packages": [package, "and 7 more"],
        "team": {"owner": "ml"},
    }
    plan: JsonValue = {
        "target": "gpu",
        "gpu_count": 1,
        "gpu_mem_floor_mib": 2048,
        "cpu_millicores": 500,
    }
    asked: dict[str, JsonValue] = {"resources": {"cpu": "500m", "memory": None, "gpu": None}}
    decisions = [
        Decision(hook="longshore_profile_image", plugin="images", outcome=facts),
        Decision(
            hook="longshore_plan_hardware", plugin="hardware_plan", outcome=plan, inputs=asked
        ),
        Decision(hook="longshore_plan_hardware", plugin="older", outcome={"no": "plan"}),
        Decision(hook="longshore_filter_node", plugin="bad", outcome=None, why="KeyError: 'x'"),
        Decision(hook="longshore_score_node", plugin="good", outcome={"vm": 99.91702966189587}),
        Decision(
            hook="longshore_replan_hardware",
            plugin="hardware_plan",
            outcome={"memory_measured_mib": 91},
            inputs={"memory_measured_mib": None},
        ),
    ]
    print_decisions(decisions)
    assert capsys.readouterr().out.splitlines() == [
        " 1. longshore_profile_image by images",
        "    GPU need: none",
        "    packages: torch 2.9.0 (and 7 more, not kept here)",
        '    team: {"owner": "ml"}',
        " 2. longshore_plan_hardware by hardware_plan",
        "    processors: any",
        "    GPUs: 1 of 2 GiB or more",
        "    CPU: 0.5 cores",
        "    memory: no limit",
        "    from: resources = cpu 500m",
        " 3. longshore_plan_hardware by older",
        "    no plan",
        " 4. longshore_filter_node by bad",
        "    no answer: it failed",
        "    why: KeyError: 'x'",
        " 5. longshore_score_node by good",
        "    vm 99.92",
        " 6. longshore_replan_hardware by hardware_plan",
        "    memory measured 91 MiB",
    ]


def test_explain_tells_when_and_from_how_much_in_units(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    load = Load(
        key=VersionKey("iris", "1"), in_flight=3, rate=0.016667, average=4.2, last_request_at=NOON
    )
    collected: dict[str, JsonValue] = {"last_used": NOON.isoformat(), "memory_mib": 91}
    decisions = [
        wished("sleep", load, "put to sleep by a user", by=USER, at=NOON),
        Decision(
            hook="longshore_scale", plugin="scaling", outcome=1, inputs={"before": 4}, at=NOON
        ),
        Decision(hook="wish", plugin="core", outcome="collect", inputs=collected, at=NOON),
        Decision(hook="other", plugin="odd", outcome="x", inputs={"last_used": "never"}, at=NOON),
    ]
    print_decisions(decisions, dated=True)
    monkeypatch.undo()
    time.tzset()
    assert capsys.readouterr().out.splitlines() == [
        " 1. wish by user, 2026-01-01 21:00:00 JST",
        "    sleep",
        (
            "    from: in flight = 3; held = 0; rate = 0.01667 requests/s; average over 60 s = 4.2;"
            " last request = 2026-01-01 21:00:00 JST"
        ),
        "    why: put to sleep by a user",
        " 2. longshore_scale by scaling, 2026-01-01 21:00:00 JST",
        "    1 replica",
        "    from: replicas before = 4",
        " 3. wish by core, 2026-01-01 21:00:00 JST",
        "    collect",
        "    from: last used = 2026-01-01 21:00:00 JST; memory = 91 MiB",
        " 4. other by odd, 2026-01-01 21:00:00 JST",
        "    x",
        "    from: last used = never",
    ]
