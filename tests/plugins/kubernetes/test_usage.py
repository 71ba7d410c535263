"""What pods use: as a cluster's metrics API tells it, and where it does not."""

from typing import Any

import pytest
from parts.backends import IRIS, Build, eventually, ready
from parts.kubernetes_backend import KubernetesBackends

from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.usage import NO_GPU_MEMORY, NO_METRICS, uses

ROSES = VersionKey("roses", "1")


class Metrics(Client):
    """A cluster that answers this to whoever asks for metrics."""

    def __init__(self, answer: Any) -> None:
        self.namespace = "n"
        self.answer = answer
        self.asked: list[Any] = []

    async def get(self, path: str, query: Any = None) -> Any:
        self.asked.append((path, query))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def pod(name: str, **limits: str) -> Any:
    container = {"name": "model", "resources": {"limits": limits}}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}}


def metrics(name: str, memory: str | None, container: str = "model") -> Any:
    usage = {"cpu": "3m", **({"memory": memory} if memory else {})}
    return {"metadata": {"name": name}, "containers": [{"name": container, "usage": usage}]}


async def test_the_models_container_of_each_pod_counts() -> None:
    told = [
        metrics("a", "204801Ki"),
        metrics("b", "1Gi"),
        metrics("c", "5Gi", container="sidecar"),
        metrics("d", None),
        {"metadata": {"name": "e"}},
    ]
    client = Metrics({"items": told})
    pods = {IRIS: [pod("a"), pod("b")], ROSES: [pod("c"), pod("d"), pod("new")]}
    found = await uses(client, "me", pods)
    assert [each.memory_mib for each in found[IRIS]] == [201, 1024]
    assert [each.unread for each in found[ROSES]] == ["metrics.k8s.io does not tell of it yet"] * 3
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/n/pods"
    assert client.asked == [(path, {"labelSelector": "longshore.io/owner=me"})]


async def test_gpu_memory_is_unknown_with_a_reason() -> None:
    client = Metrics({"items": [metrics("a", "1Gi")]})
    found = await uses(client, "me", {IRIS: [pod("a", **{"nvidia.com/gpu": "1"})]})
    assert (found[IRIS][0].memory_mib, found[IRIS][0].gpus_unread) == (1024, NO_GPU_MEMORY)
    claiming = pod("a")
    claiming["spec"]["resourceClaims"] = [{"name": "gpus"}]
    assert (await uses(client, "me", {IRIS: [claiming]}))[IRIS][0].gpus_unread == NO_GPU_MEMORY


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ApiError(404, "NotFound", "the page is not there"), NO_METRICS),
        (ApiError(403, "Forbidden", "pods is forbidden"), "metrics.k8s.io answers: pods is forb"),
        (Unavailable("the Kubernetes API answers 503"), "metrics.k8s.io: the Kubernetes API answ"),
    ],
)
async def test_a_cluster_without_metrics_says_so_and_fails_nothing(
    error: Exception, why: str
) -> None:
    found = await uses(Metrics(error), "me", {IRIS: [pod("a")]})
    assert found[IRIS][0].memory_mib is None
    assert found[IRIS][0].unread.startswith(why)
    client = Metrics(error)
    assert await uses(client, "me", {}) == {}
    assert client.asked == []


@pytest.mark.kubernetes
async def test_ready_pods_are_measured_or_the_reason_is_told(
    backends: KubernetesBackends, workload: Build
) -> None:
    backend = await backends.open()
    await backend.apply(workload())
    assert await backend.measured([ROSES]) == {}
    await eventually(backend, ready)
    [use] = (await backend.measured([IRIS]))[IRIS]
    assert (use.memory_mib is None) is bool(use.unread)
    assert (use.gpus, use.gpus_unread) == ((), "")
