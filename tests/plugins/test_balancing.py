import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.types import Address, Endpoint
from longshore.plugins.balancing import LeastInFlight, longshore_balancer

HERE = Address(host="127.0.0.1", port=1)


@dataclass
class Slot:
    endpoint: Endpoint
    in_flight: int = 0


def slots(*in_flight: int) -> list[Slot]:
    return [
        Slot(Endpoint(replica=str(number), address=HERE), busy)
        for number, busy in enumerate(in_flight)
    ]


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=20), min_size=1, max_size=20))
def test_the_pick_is_always_one_of_the_least_busy(rounds: list[list[int]]) -> None:
    # One balancer sees replicas come and go.
    balancer = longshore_balancer()
    for each in rounds:
        picked = balancer.pick(slots(*each))
        assert picked.in_flight == min(each)


def test_idle_replicas_take_turns() -> None:
    balancer = LeastInFlight()
    idle = slots(0, 0, 0, 0)
    assert [balancer.pick(idle).endpoint.replica for _ in range(8)] == list("01230123")


@pytest.mark.parametrize("busy", [(0, 1, 0), (1, 0, 0), (0, 0, 1), (2, 1, 1, 2, 1)])
def test_equals_share_evenly_whoever_stands_between_them(busy: tuple[int, ...]) -> None:
    balancer = LeastInFlight()
    candidates = slots(*busy)
    picks = Counter(balancer.pick(candidates).endpoint.replica for _ in range(300))
    assert len(set(picks.values())) == 1


def test_a_replica_that_left_does_not_confuse_the_turns() -> None:
    balancer = LeastInFlight()
    candidates = slots(0, 0, 0)
    for _ in range(3):
        balancer.pick(candidates)
    assert balancer.pick(candidates[:1]).endpoint.replica == "0"


def test_load_that_comes_and_goes_at_random_stays_balanced() -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    balancer = LeastInFlight()
    candidates = slots(*[0] * 5)
    widest = 0
    for _ in range(5000):
        if dice.random() < 0.6 and sum(each.in_flight for each in candidates) < 60:
            balancer.pick(candidates).in_flight += 1
        else:
            busy = [each for each in candidates if each.in_flight]
            if busy:
                dice.choice(busy).in_flight -= 1
        loads = [each.in_flight for each in candidates]
        widest = max(widest, max(loads) - min(loads))
    assert widest <= 6


def test_a_burst_is_spread_to_the_request() -> None:
    balancer = LeastInFlight()
    candidates = slots(*[0] * 7)
    for _ in range(700):
        balancer.pick(candidates).in_flight += 1
    assert [each.in_flight for each in candidates] == [100] * 7
