"""What routers are told of a version: may requests wait for it?"""

from datetime import timedelta

import pytest
from examples_of import NOON, record
from parts.routed import hooks_of

from longshore.core.publishing import Publisher, followed_route, route_of
from longshore.core.types import Collected, ImageFate, Model, State, TrafficRule, Wish
from longshore.router.table import Table

ON_ITS_WAY = [State.ASLEEP, State.PENDING, State.PULLING, State.STARTING]


def coming(wish: Wish = Wish.RUN, **status: object) -> bool:
    one = record(wish, **status)
    model = Model(name="iris", traffic=TrafficRule(), created_at=NOON, versions=(one,))
    route = route_of(model, {one.version.key: one.status}, {}, {})
    return route.versions[0].coming


@pytest.mark.parametrize("state", ON_ITS_WAY)
def test_requests_wait_for_what_is_on_its_way(state: State) -> None:
    assert coming(state=state)
    assert coming(Wish.SLEEP, state=state)


@pytest.mark.parametrize("state", [*ON_ITS_WAY, State.FAILED])
def test_they_do_not_wait_for_the_next_try_of_what_never_served(state: State) -> None:
    assert not coming(state=state, failures=1)


@pytest.mark.parametrize("state", [State.STARTING, State.FAILED])
def test_they_wait_for_what_served_and_failed_once(state: State) -> None:
    assert coming(state=state, failures=1, served=True)
    assert not coming(state=state, failures=2, served=True)


def test_they_wait_for_what_was_ready_a_moment_ago() -> None:
    assert coming(state=State.READY)
    assert coming(state=State.READY, failures=3)


def test_they_do_not_wait_for_what_runs_and_is_sick() -> None:
    assert not coming(state=State.FAILED, failures=0, served=True)


def test_they_do_not_wait_for_what_is_collected() -> None:
    assert not coming(Wish.COLLECT, state=State.ASLEEP)


def test_what_is_being_collected_is_not_taken_for_asleep() -> None:
    one = record(Wish.COLLECT, state=State.ASLEEP)
    model = Model(name="iris", traffic=TrafficRule(), created_at=NOON, versions=(one,))
    for route in (
        route_of(model, {one.version.key: one.status}, {}, {}),
        followed_route(model, {}, ()),
    ):
        assert route.versions[0].state is State.COLLECTED


@pytest.mark.parametrize(
    ("image", "comes"),
    [(ImageFate.STAYS, True), (ImageFate.GOES, True), (ImageFate.DELETED, False)],
)
async def test_a_request_brings_back_only_what_can_be_pulled(image: ImageFate, comes: bool) -> None:
    word = Collected(at=NOON, why="a test", image=image)
    one = record(Wish.COLLECT, state=State.COLLECTED).model_copy(update={"collected": word})
    model = Model(name="iris", traffic=TrafficRule(), created_at=NOON, versions=(one,))
    table = Table(hooks_of())
    await Publisher(table, wake_collected=True).publish([followed_route(model, {}, ())])
    assert table.version("iris", "1").route.coming == comes


async def test_when_a_failed_version_is_tried_again_reaches_routers() -> None:
    failed = record(state=State.FAILED, failures=1, retry_at=NOON)
    later = record(state=State.FAILED, failures=1, retry_at=NOON + timedelta(seconds=8))
    table = Table(hooks_of())
    publisher = Publisher(table)
    for one in (failed, later):
        model = Model(name="iris", traffic=TrafficRule(), created_at=NOON, versions=(one,))
        for route in (
            route_of(model, {one.version.key: one.status}, {}, {}),
            followed_route(model, {}, ()),
        ):
            assert route.versions[0].retry_at == one.status.retry_at
            await publisher.publish([route])
            assert table.version("iris", "1").route.retry_at == one.status.retry_at
