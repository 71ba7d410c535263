import pytest
from examples_of import version
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.names import VersionKey
from longshore.core.types import Load, ScaleWish
from longshore.plugins.scaling import longshore_scale

KEY = VersionKey("iris", "1")


def wish(in_flight: int, held: int = 0, **scaling: int) -> ScaleWish:
    return longshore_scale(version(scaling=scaling), Load(key=KEY, in_flight=in_flight, held=held))


@pytest.mark.parametrize(
    ("in_flight", "replicas"), [(0, 1), (1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (1000, 4)]
)
def test_replicas_follow_the_requests_in_flight(in_flight: int, replicas: int) -> None:
    assert wish(in_flight, min=0, max=4, target=8).replicas == replicas


def test_held_requests_count_as_much_as_those_in_flight() -> None:
    assert wish(4, held=5, min=0, max=4, target=8).replicas == 2


def test_why_tells_the_numbers_and_the_bounds_where_they_decided() -> None:
    assert wish(9, min=0, max=4, target=8).why == "9 requests at 8 per replica need 2"
    assert wish(0, min=0, max=4, target=8).why == (
        "0 requests at 8 per replica need 0; the bounds are 1 to 4"
    )
    assert wish(900, min=2, max=4, target=8).why == (
        "900 requests at 8 per replica need 113; the bounds are 2 to 4"
    )


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 1000),
    st.integers(1, 1000),
    st.integers(1, 10**6),
)
def test_replicas_stay_within_bounds_and_carry_the_load_where_they_can(
    in_flight: int, held: int, least: int, most: int, target: int
) -> None:
    least = min(least, most)
    replicas = wish(in_flight, held, min=least, max=most, target=target).replicas
    assert max(least, 1) <= replicas <= most
    assert replicas == most or replicas * target >= in_flight + held
    assert replicas == max(least, 1) or (replicas - 1) * target < in_flight + held
