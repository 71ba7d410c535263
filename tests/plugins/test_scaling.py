"""The built-in scaling, moment by moment; what becomes of whole traces is in tests/bench."""

import pytest
from examples_of import version
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.names import VersionKey
from longshore.core.types import Load, ScaleWish
from longshore.plugins.scaling import Memory, Plugin, ScalingSettings, decide

KEY = VersionKey("iris", "1")
BOUNDS = {"min": 1, "max": 20, "target": 8}


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Scaled:
    """A version that is scaled, and a clock."""

    def __init__(self, ready: int = 1, **scaling: int) -> None:
        self.clock = Clock()
        self.ready = ready
        self.version = version(scaling={**BOUNDS, **scaling})
        self.plugin = Plugin(ScalingSettings(), self.clock)

    def after(self, seconds: float, average: float, recent: float | None = None) -> ScaleWish:
        """Ask after a while; all replicas that were wanted are ready by then."""
        self.clock.time += seconds
        recent = average if recent is None else recent
        load = Load(key=KEY, average=average, recent=recent)
        wish = self.plugin.longshore_scale(self.version, load, self.ready)
        self.ready = wish.replicas
        return wish


@pytest.mark.parametrize(("average", "replicas"), [(0, 1), (8, 1), (10, 2), (17, 3), (1000, 20)])
def test_the_average_decides(average: float, replicas: int) -> None:
    assert Scaled().after(0, average, recent=0).replicas == replicas


def test_without_averages_the_moment_counts() -> None:
    scaled = Scaled()
    load = Load(key=KEY, in_flight=20, held=5)
    assert scaled.plugin.longshore_scale(scaled.version, load, 1).replicas == 4


def test_a_little_more_or_less_than_the_target_changes_nothing() -> None:
    scaled = Scaled()
    assert scaled.after(0, 32).replicas == 4
    for average in (34, 30, 35, 29):
        assert scaled.after(5, average).replicas == 4
    assert scaled.after(5, 36).replicas == 5


def test_a_burst_is_answered_at_once_by_the_last_seconds() -> None:
    scaled = Scaled()
    wish = scaled.after(0, average=5, recent=100)
    assert wish.replicas == 13
    assert wish.why == (
        "a burst: averaged 100 requests in flight over 3 s at 8 per replica need 13"
    )


def test_less_than_a_burst_waits_for_the_average() -> None:
    scaled = Scaled(ready=4)
    assert scaled.after(0, average=32, recent=56).replicas == 4


def test_within_a_minute_of_a_burst_nothing_goes_down_whatever_was_set() -> None:
    scaled = Scaled()
    scaled.plugin = Plugin(ScalingSettings(scale_down_after=0), scaled.clock)
    assert scaled.after(0, average=5, recent=100).replicas == 13
    assert scaled.after(30, average=60, recent=100).replicas == 13
    assert scaled.after(31, average=2).replicas == 1


def test_while_replicas_start_what_waits_for_them_asks_for_no_more() -> None:
    scaled = Scaled()
    assert scaled.after(0, average=5, recent=100).replicas == 13
    scaled.ready = 1
    assert scaled.after(2, average=30, recent=180).replicas == 13
    scaled.ready = 13
    assert scaled.after(2, average=60, recent=180).replicas == 13, "the queue of before"
    assert scaled.after(3, average=70, recent=104).replicas == 13
    assert scaled.after(60, average=150).replicas == 19


def test_while_replicas_start_twice_as_much_is_a_burst_of_its_own() -> None:
    scaled = Scaled()
    assert scaled.after(0, average=5, recent=20).replicas == 3
    scaled.ready = 1
    assert scaled.after(1, average=5, recent=40).replicas == 3
    scaled.ready = 1
    assert scaled.after(1, average=5, recent=100).replicas == 13


def test_down_goes_by_the_most_that_was_needed_lately() -> None:
    scaled = Scaled()
    scaled.after(0, 80)
    wish = scaled.after(200, 16)
    assert wish.replicas == 10
    assert wish.why == (
        "averaged 16 requests in flight over 60 s at 8 per replica need 2; "
        "10 were needed in the last 300 s"
    )
    assert scaled.after(110, 16).replicas == 2


def test_load_that_comes_and_goes_keeps_its_replicas() -> None:
    scaled = Scaled()
    numbers = [scaled.after(60, average).replicas for average in [80, 0] * 10]
    assert set(numbers) == {10}


def test_a_new_start_scales_nothing_down_before_it_knows() -> None:
    scaled = Scaled(ready=10)
    assert scaled.after(0, 0).replicas == 10
    assert scaled.after(290, 0).replicas == 10
    assert scaled.after(20, 0).replicas == 1


def test_versions_that_nobody_asks_about_are_forgotten() -> None:
    scaled = Scaled()
    scaled.after(0, 80)
    other = version("other", scaling=BOUNDS)
    scaled.clock.time += 1000
    scaled.plugin.longshore_scale(other, Load(key=other.key), 1)
    assert len(scaled.plugin._known) == 1  # noqa: SLF001 - it shows in nothing but memory


@pytest.mark.parametrize(
    ("average", "why"),
    [
        (4.2, "averaged 4.2 requests in flight over 60 s at 2 per replica need 3"),
        (4.9, "averaged 5 requests in flight over 60 s at 2 per replica need 3"),
        (6.008, "averaged 6.01 requests in flight over 60 s at 2 per replica need 4"),
    ],
)
def test_why_tells_as_many_digits_as_the_number_of_replicas_takes(average: float, why: str) -> None:
    assert Scaled(target=2, max=9).after(0, average, recent=0).why == why


def test_why_tells_of_the_bounds_where_they_decided() -> None:
    assert Scaled(max=4).after(0, 900, recent=0).why == (
        "averaged 900 requests in flight over 60 s at 8 per replica need 113; the bounds are 1 to 4"
    )


loads = st.tuples(
    st.floats(0.01, 400), st.floats(0, 10_000), st.floats(0, 10_000), st.integers(0, 1000)
)


@given(st.lists(loads, max_size=30), st.integers(0, 50), st.integers(1, 50), st.integers(1, 1000))
def test_whatever_comes_the_bounds_hold_and_steady_load_is_carried(
    steps: list[tuple[float, float, float, int]], least: int, most: int, target: int
) -> None:
    least = min(least, most)
    bounds = version(scaling={"min": least, "max": most, "target": target}).spec.scaling
    settings, now = ScalingSettings(), 0.0
    memory = Memory(max(least, 1), now)
    for seconds, average, recent, ready in steps:
        now += seconds
        load = Load(key=KEY, average=average, recent=recent)
        wish = decide(memory, load, ready, bounds, settings=settings, now=now)
        assert max(least, 1) <= wish.replicas <= most
        if ready >= wish.replicas and now >= memory.settled:
            enough = wish.replicas * target * (1 + settings.tolerance)
            assert wish.replicas == most or enough >= average * 0.999


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=20), st.floats(0, 100))
def test_more_load_never_means_fewer_replicas(averages: list[float], more: float) -> None:
    little, much = Scaled(max=1000), Scaled(max=1000)
    for average in averages:
        fewer = little.after(5, average).replicas
        # By as much as the tolerance may hide.
        assert much.after(5, average * 1.25 + more).replicas >= fewer * 0.99 - 1
