"""The hooks are plain methods on plain values, so testing them takes no platform."""

import pytest
from longshore_headroom import Plugin
from pydantic import ValidationError

from longshore import HardwarePlan, Node, NodeProfile


def node(memory_mib: int) -> NodeProfile:
    return NodeProfile(
        node=Node(name="n", architecture="amd64", cpu_millicores=4000, memory_mib=memory_mib)
    )


def plugin(reserve: int = 1024) -> Plugin:
    return Plugin(Plugin.Settings(reserve=reserve))


def test_a_node_with_enough_left_is_fine() -> None:
    plan = HardwarePlan(memory_mib=1024)
    assert plugin().longshore_filter_node(plan, node(2048)) == []


@pytest.mark.parametrize(("memory_mib", "left"), [(2047, 1023), (1024, 0), (512, 0)])
def test_a_node_with_too_little_left_is_refused_with_the_numbers(
    memory_mib: int, left: int
) -> None:
    plan = HardwarePlan(memory_mib=1024)
    assert plugin().longshore_filter_node(plan, node(memory_mib)) == [
        f"{left} MiB of memory would be left, and 1024 MiB stay free"
    ]


def test_a_version_that_asks_for_nothing_counts_as_taking_none() -> None:
    assert plugin().longshore_filter_node(HardwarePlan(), node(1024)) == []
    assert plugin().longshore_filter_node(HardwarePlan(), node(1023)) != []


def test_more_left_scores_higher_from_50_towards_100() -> None:
    plan = HardwarePlan(memory_mib=1024)
    scores = [plugin().longshore_score_node(plan, node(size)) for size in (2048, 4096, 1 << 20)]
    assert scores == sorted(scores)
    assert scores[0] == 50
    assert 99 < scores[-1] < 100


@pytest.mark.parametrize("settings", [{}, {"reserve": 0}, {"reserve": "much"}, {"reserv": 1}])
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Plugin.Settings.model_validate(settings)
