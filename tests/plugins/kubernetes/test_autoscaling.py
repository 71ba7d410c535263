"""The cluster scales what it can; where it serves no metrics, Longshore does."""

import asyncio

import pytest
from parts.kubernetes_wanted import wanted
from parts.memory_cluster import MemoryCache, memory_cluster

from longshore.core.errors import Unavailable
from longshore.core.types import Scaling
from longshore.plugins.kubernetes import autoscaling
from longshore.plugins.kubernetes.autoscaling import Autoscaling
from longshore.plugins.kubernetes.client import ApiError
from longshore.plugins.kubernetes.kinds import AUTOSCALER

NOT_SERVED = ApiError(404, "NotFound", "the server could not find the requested resource")


class World:
    """A cluster that begins or ceases to serve metrics."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(autoscaling, "LOOK_AT_METRICS", 0.001)
        self.api, self.cluster = memory_cluster(AUTOSCALER)
        self.autoscaling = Autoscaling(self.cluster)

    def has_autoscaler(self) -> None:
        cache = self.cluster.caches[AUTOSCALER]
        assert isinstance(cache, MemoryCache)
        cache.see({"metadata": {"name": "iris"}})

    async def told(self, problem: Exception | None) -> None:
        """Let it look, and find this."""
        self.api.refuse = lambda method, path: problem
        looked = len(self.api.asked)
        following = asyncio.create_task(self.autoscaling.follow_metrics())
        async with asyncio.timeout(5):
            while len(self.api.asked) < looked + 2:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.001)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


ONE = wanted(scaling=Scaling(min=0, max=1)).workload
MANY = wanted(scaling=Scaling(min=0, max=3)).workload


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_version_of_one_replica_at_most_is_not_scaled(world: World) -> None:
    await world.told(None)
    assert not world.autoscaling.may_scale("iris", ONE)
    assert not world.autoscaling.lacks_metrics("iris", ONE)


async def test_others_are_while_metrics_are_served(world: World) -> None:
    assert not world.autoscaling.may_scale("iris", MANY)
    assert world.autoscaling.lacks_metrics("iris", MANY)
    await world.told(None)
    assert world.autoscaling.may_scale("iris", MANY)
    assert not world.autoscaling.lacks_metrics("iris", MANY)
    await world.told(NOT_SERVED)
    assert not world.autoscaling.may_scale("iris", MANY)


async def test_an_api_server_that_is_away_changes_nothing(world: World) -> None:
    await world.told(None)
    await world.told(Unavailable("no answer"))
    assert world.autoscaling.may_scale("iris", MANY)


async def test_an_autoscaler_that_is_there_outlives_a_gap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.has_autoscaler()
    assert world.autoscaling.scales("iris")
    assert not world.autoscaling.scales("other")
    await world.told(None)
    await world.told(NOT_SERVED)
    assert world.autoscaling.may_scale("iris", MANY)
    assert not world.autoscaling.may_scale("other", MANY)
    monkeypatch.setattr(autoscaling, "PATIENCE", 0)
    assert not world.autoscaling.may_scale("iris", MANY)


async def test_a_change_is_hinted_at_once(world: World) -> None:
    async def hinted() -> None:
        async for _ in world.cluster.hints.listen():
            return

    waiting = asyncio.create_task(hinted())
    await asyncio.sleep(0)
    await world.told(None)
    async with asyncio.timeout(5):
        await waiting


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("cpu", "/apis/metrics.k8s.io/v1beta1"),
        (
            "requests",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/models/longshore_requests_in_flight",
        ),
    ],
)
async def test_what_autoscalers_would_go_by_is_asked_for(what: str, path: str) -> None:
    api, cluster = memory_cluster(AUTOSCALER, autoscale_on=what)
    following = asyncio.create_task(Autoscaling(cluster).follow_metrics())
    await asyncio.sleep(0.01)
    following.cancel()
    assert api.asked == [f"GET {path}"]
