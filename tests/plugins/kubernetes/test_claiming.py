"""Versions that claim GPUs, on a real scheduler with made-up ones.

The scheduler gives GPUs to claims by what is published of them. To prepare one takes NVIDIA's
driver on the node: without it pods get their GPU, and their container never starts.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from parts.backends import IRIS, Build, eventually, ready
from parts.claimable import DRIVER, allocated, has_class, published
from parts.hardware import (
    A10,
    A100_80,
    B200,
    H100,
    ONNXRUNTIME,
    T4,
    planned,
    profile,
    verdicts,
)
from parts.kubectl import Kubectl
from parts.kubernetes_backend import KubernetesBackends
from parts.routed import hooks_of, until

from longshore.core.errors import WorkloadFailed
from longshore.core.gpus import gpus_of, runs_on
from longshore.core.nodes import profile_node
from longshore.core.types import (
    Confidence,
    GpuCode,
    HardwarePlan,
    Replica,
    Workload,
)
from longshore.hardware.node.plugin import Plugin as Labels
from longshore.plugins.kubernetes import Plugin
from longshore.plugins.kubernetes.backend import KubernetesBackend
from longshore.plugins.kubernetes.claims import claim_spec
from longshore.plugins.kubernetes.client import Client
from longshore.plugins.kubernetes.kinds import Kind
from longshore.plugins.kubernetes.labels import object_name
from longshore.plugins.kubernetes.settings import KubernetesSettings

pytestmark = pytest.mark.kubernetes

TEMPLATES = "resourceclaimtemplates.v1.resource.k8s.io"
BOTH = {"gpu-0": T4, "gpu-1": H100}


@pytest.fixture(autouse=True)
def no_real_gpus(kubectl: Kubectl) -> Iterator[None]:
    """Made-up GPUs would mix with real ones."""
    if "deviceclasses" not in kubectl.run("api-resources", "--api-group=resource.k8s.io"):
        pytest.skip("the cluster does not serve resource.k8s.io/v1")
    if has_class(kubectl):
        pytest.skip(f"the cluster has a DeviceClass {DRIVER} of its own")
    yield
    kubectl.run("delete", "pods", "--all", "--force", "--grace-period=0", "--ignore-not-found")


async def claiming(backends: KubernetesBackends) -> KubernetesBackend:
    return await backends.open(gpu_allocation="dra")


def made(build: Build, plan: HardwarePlan, **fields: Any) -> Workload:
    return build(
        gpu_count=plan.gpu_count,
        gpu_mem_floor_mib=plan.gpu_mem_floor_mib,
        affinity=plan.affinity,
        tolerations=plan.tolerations,
        **fields,
    )


def planned_for(facts: Mapping[str, Any] = ONNXRUNTIME, memory: str = "20Gi") -> HardwarePlan:
    return planned(profile(facts), resources={"gpu": 1, "gpu_memory": memory})


async def given(kubectl: Kubectl, *devices: str) -> None:
    """Wait until the version's one pod has these devices."""

    def has() -> bool:
        found = allocated(kubectl)
        return [found.get(each) for each in kubectl.live_pods()] == [list(devices)]

    assert await until(has, within=60), allocated(kubectl)


def waits(found: tuple[Replica, ...]) -> bool:
    return bool(found) and "no node has room for it" in found[0].reason


def gave_up(found: tuple[Replica, ...]) -> bool:
    return waits(found) and found[0].hopeless


async def test_the_gpu_that_does_is_given_and_released_with_the_version(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    with published(kubectl, BOTH):
        await backend.apply(made(workload, planned_for(), cpu_millicores=1000, memory_mib=64))
        await given(kubectl, "gpu-1")
        (name,) = kubectl.names(TEMPLATES)
        assert name == object_name(backends.installation, IRIS)
        (pod,) = kubectl.get("pods")["items"]
        assert pod["spec"]["nodeName"] == min(kubectl.names("nodes"))
        assert pod["spec"]["containers"][0]["resources"]["limits"].keys() == {"cpu", "memory"}
        # Nodes with a static CPU policy give whole CPUs to such pods alone.
        assert pod["status"]["qosClass"] == "Guaranteed"
        await backend.delete(IRIS)
        assert kubectl.names(TEMPLATES) == []
        assert await until(lambda: allocated(kubectl) == {}, within=60)


async def test_a_version_that_no_gpu_fits_waits_with_the_schedulers_words(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    with published(kubectl, BOTH):
        await backend.apply(made(workload, planned_for(memory="100Gi")))
        (replica,) = await eventually(backend, waits, within=60)
        assert "cannot allocate all claims" in replica.reason
        # Until then, a node or a driver may be late (wait_for_room).
        assert not replica.hopeless
        (replica,) = await eventually(backend, gave_up, within=60)
        assert replica.node == ""


async def test_an_older_driver_will_not_do(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    with published(kubectl, BOTH, driver="570.86.15"):
        await backend.apply(made(workload, planned_for()))
        await eventually(backend, waits, within=60)


async def test_a_node_without_the_driver_says_why_there_is_no_container(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    def told(found: tuple[Replica, ...]) -> bool:
        return bool(found) and "its node does not get it ready" in found[0].reason

    backend = await claiming(backends)
    with published(kubectl, BOTH):
        await backend.apply(made(workload, planned_for()))
        (replica,) = await eventually(backend, told, within=90)
        assert "gpu.nvidia.com" in replica.reason
        assert replica.node
        assert not replica.hopeless


async def test_no_two_pods_get_one_gpu(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    with published(kubectl, BOTH):
        plan = planned_for()
        await backend.apply(made(workload, plan, replicas=2, scaling={"max": 2}))

        def one_waits(found: tuple[Replica, ...]) -> bool:
            return sorted(bool(each.node) for each in found) == [False, True]

        await eventually(backend, one_waits, within=60)
        assert list(allocated(kubectl).values()) == [["gpu-1"]]


async def test_an_update_gets_the_gpu_of_its_predecessor(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    with published(kubectl, BOTH):
        plan = planned_for()
        await backend.apply(made(workload, plan))
        await given(kubectl, "gpu-1")
        (before,) = kubectl.live_pods()
        await backend.apply(made(workload, plan, env={"COLOUR": "blue"}))
        assert await until(lambda: before not in kubectl.live_pods(), within=60)
        await given(kubectl, "gpu-1")


async def test_what_is_changed_or_removed_by_hand_is_put_right(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    wished = made(workload, planned_for())

    async def drifts() -> None:
        async with asyncio.timeout(30):
            while True:
                if (await backend.list())[0].fingerprint != wished.fingerprint:
                    return
                await asyncio.sleep(0.05)

    def template() -> Any:
        (found,) = kubectl.get(TEMPLATES)["items"]
        return found

    with published(kubectl, BOTH):
        await backend.apply(wished)
        spec, name = template()["spec"], template()["metadata"]["name"]
        await backend.apply(wished)
        assert (await backend.list())[0].fingerprint == wished.fingerprint
        kubectl.run("delete", TEMPLATES, name)
        await drifts()
        await backend.apply(wished)
        assert template()["spec"] == spec
        kubectl.run("annotate", TEMPLATES, name, "--overwrite", "longshore.io/spec-hash=x")
        await drifts()
        await backend.apply(wished)
        assert template()["metadata"]["annotations"]["longshore.io/spec-hash"] != "x"


async def test_a_template_of_another_spec_makes_way(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    """As after an upgrade that asks for GPUs otherwise: the spec of a template never changes."""
    backend = await claiming(backends)
    with published(kubectl, BOTH):
        await backend.apply(made(workload, planned_for()))
        (before,) = kubectl.get(TEMPLATES)["items"]
        wished = made(workload, planned_for(memory="40Gi"))
        await backend.apply(wished)
        (after,) = kubectl.get(TEMPLATES)["items"]
        assert after["spec"]["spec"] == claim_spec(wished)["spec"] != before["spec"]["spec"]


async def test_without_a_class_a_version_says_so_and_others_run(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await claiming(backends)
    with pytest.raises(WorkloadFailed, match=r"no DeviceClass gpu\.nvidia\.com of resource\.k8s"):
        await backend.apply(made(workload, planned_for()))
    assert kubectl.run("get", "deployments", "--output=name") == ""
    await backend.apply(workload())
    await eventually(backend, ready, within=60)
    await backend.delete(IRIS)


async def test_a_cluster_without_claims_runs_what_needs_none(
    backends: KubernetesBackends,
    workload: Build,
    kubectl: Kubectl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Client.path

    def older(client: Client, kind: Kind, name: str = "", sub: str = "") -> str:
        return path(client, kind, name, sub).replace("resource.k8s.io/v1/", "resource.k8s.io/v0/")

    monkeypatch.setattr(Client, "path", older)
    backend = await claiming(backends)
    assert [each.gpus for each in await backend.nodes()] == [0] * len(kubectl.names("nodes"))
    await backend.apply(workload())
    await eventually(backend, ready, within=60)
    with pytest.raises(WorkloadFailed, match="no DeviceClass"):
        await backend.apply(made(workload, planned_for()))
    await backend.delete(IRIS)
    assert kubectl.names("deployments") == []


SETS = {
    "sass": GpuCode(owner="x", sass=("75", "80", "90a")),
    "minor": GpuCode(owner="x", sass=("86",)),
    "ptx": GpuCode(owner="x", ptx=("86",)),
}
KINDS = {"t4": T4, "a10": A10, "a100": A100_80, "h100": H100, "b200": B200}


@pytest.mark.parametrize("code", SETS.values(), ids=SETS.keys())
async def test_a_scheduler_sees_the_same_gpus_in_code_as_the_rules(
    kubectl: Kubectl, workload: Build, code: GpuCode
) -> None:
    facts = {
        name: ({code.owner: list(told)}, Confidence.EXACT)
        for name, told in (("sm_sass", code.sass), ("sm_ptx", code.ptx))
        if told
    }
    spec = claim_spec(made(workload, planned_for(facts, memory="1Gi")))
    (request,) = spec["spec"]["devices"]["requests"]
    request["exactly"]["allocationMode"] = "All"
    request["exactly"].pop("count")
    kubectl.run("create", "namespace", kubectl.namespace)
    with published(kubectl, KINDS):
        name = {"name": "all", "namespace": kubectl.namespace}
        template = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate"}
        kubectl.apply({**template, "metadata": name, "spec": spec})
        claims = [{"name": "all", "resourceClaimTemplateName": "all"}]
        container = {"name": "x", "image": "x", "resources": {"claims": [{"name": "all"}]}}
        pod = {"resourceClaims": claims, "containers": [container]}
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": name, "spec": pod})
        assert await until(lambda: bool(allocated(kubectl)), within=60)
        (found,) = allocated(kubectl).values()
    runs = {
        each
        for each, kind in KINDS.items()
        if runs_on(code, (int(kind[1].split(".")[0]), int(kind[1].split(".")[1])))
    }
    assert set(found) == runs
    assert 0 < len(runs) < len(KINDS)


async def test_nodes_are_known_by_the_gpus_that_can_be_claimed(
    backends: KubernetesBackends, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await claiming(backends)
    claims = Plugin(KubernetesSettings(gpu_allocation="dra"))
    monkeypatch.setattr(claims, "_backend", backend)
    hooks = hooks_of(claims, Labels())
    with published(kubectl, BOTH):
        node = min(await backend.nodes(), key=lambda each: each.name)
        assert node.gpus == 2
        known, failures = await profile_node(hooks, node)
        assert not failures
        # What the driver says wins over labels, which know one kind for a node.
        assert [each.capability for each in gpus_of(known)] == [(7, 5), (9, 0)]
        plan = planned(profile(ONNXRUNTIME), [known], resources={"gpu": 1, "gpu_memory": "20Gi"})
        assert "fail" not in verdicts(plan).values()
        assert "unverified-placement" not in verdicts(plan)
        assert backend.facts(node.model_copy(update={"memory_mib": 1})) is None
    node = min(await backend.nodes(), key=lambda each: each.name)
    assert node.gpus == 0
