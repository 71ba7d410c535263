import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.averages import AVERAGE, MOST_SAMPLES, Average, Averages
from longshore.core.names import VersionKey
from longshore.core.types import Load

KEY = VersionKey("iris", "1")


def test_a_sample_holds_until_the_next_one() -> None:
    average = Average()
    average.add(10, 0)
    average.add(40, 9)
    average.add(0, 10)
    assert average.over(60, 10) == pytest.approx((10 * 9 + 40) / 10)


def test_only_the_window_counts_and_what_held_at_its_beginning() -> None:
    average = Average()
    average.add(10, 0)
    average.add(20, 100)
    assert average.over(60, 100) == 10
    assert average.over(60, 130) == pytest.approx(15)
    assert average.over(6, 130) == 20
    average.add(0, 200)
    assert average.over(60, 200) == 20
    assert average.over(60, 300) == 0


def test_without_samples_it_is_nothing_and_with_one_it_is_that() -> None:
    assert Average().over(60, 5) == 0
    average = Average()
    average.add(7, 5)
    assert average.over(60, 5) == 7


@given(st.lists(st.tuples(st.floats(0.001, 100), st.integers(0, 1000)), min_size=1, max_size=500))
def test_an_average_lies_between_its_samples_and_takes_bounded_room(
    samples: list[tuple[float, int]],
) -> None:
    average, now = Average(), 0.0
    for pause, demand in samples:
        now += pause
        average.add(demand, now)
    found = average.over(AVERAGE, now)
    demands = [demand for _, demand in samples]
    assert min(demands) - 1e-6 <= found <= max(demands) + 1e-6
    assert len(average._samples) <= MOST_SAMPLES  # noqa: SLF001 - it shows in nothing else


def test_loads_are_told_with_their_averages_and_others_are_forgotten() -> None:
    averages, other = Averages(), VersionKey("other", "1")
    averages.sample([Load(key=KEY, in_flight=6, held=4), Load(key=other, in_flight=1)], 0)
    told = averages.told(Load(key=KEY, in_flight=0), 60)
    assert (told.average, told.recent) == (10, 10)
    averages.sample([Load(key=KEY)], 61)
    assert averages.told(Load(key=other, in_flight=3), 62).average == 3
