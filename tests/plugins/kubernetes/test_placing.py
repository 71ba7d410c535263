"""Pods land where their plan says, on a node with a made-up GPU, labelled in one way or another.

The node gets a taint meanwhile, so nobody else may use the cluster.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from parts.backends import Build, eventually, ready
from parts.hardware import A10, B200, H100, ONNXRUNTIME, T4, Kind, planned, profile
from parts.kubectl import Kubectl

from longshore.core.types import HardwarePlan, NodeProfile, Replica, Workload
from longshore.hardware.node.labels import label_facts
from longshore.plugins.kubernetes.backend import KubernetesBackend

pytestmark = pytest.mark.kubernetes

GPU = "nvidia.com/gpu"
TAINT = f"{GPU}=present:NoSchedule"
ASKED = {"resources": {"gpu": 1, "gpu_memory": "20Gi"}}


def labels_of(kind: Kind, driver: int = 580) -> dict[str, str]:
    """Return what GPU feature discovery labels a node with."""
    major, _, minor = kind[1].partition(".")
    return {
        "nvidia.com/gpu.count": "1",
        "nvidia.com/cuda.driver-version.full": f"{driver}.65.06",
        "nvidia.com/gpu.memory": str(kind[2]),
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        "nvidia.com/cuda.driver-version.major": str(driver),
    }


@contextmanager
def gpu_node(kubectl: Kubectl, labels: Mapping[str, str]) -> Iterator[None]:
    """Let the cluster's first node have a GPU, its taint and labels; undo it afterwards."""
    name = min(kubectl.names("nodes"))

    def capacity(amount: str | None) -> None:
        change = {"status": {each: {GPU: amount} for each in ("capacity", "allocatable")}}
        patch = ("patch", "node", name, "--subresource=status", "--type=merge")
        kubectl.run(*patch, f"--patch={json.dumps(change)}")

    try:
        capacity("1")
        kubectl.run("taint", "node", name, "--overwrite", TAINT)
        if labels:
            told = [f"{label}={value}" for label, value in labels.items()]
            kubectl.run("label", "node", name, "--overwrite", *told)
        yield
    finally:
        kubectl.run("taint", "node", name, f"{TAINT}-", check=False)
        kubectl.run("label", "node", name, *(f"{label}-" for label in labels_of(T4)))
        capacity(None)


async def plan_for(backend: KubernetesBackend) -> HardwarePlan:
    """Return what the rules make of onnxruntime-gpu, which asks for 20 GiB, and this cluster."""
    nodes = [NodeProfile(node=each, facts=label_facts(each)) for each in await backend.nodes()]
    assert sum(each.node.gpus for each in nodes) == 1
    return planned(profile(ONNXRUNTIME), nodes, **ASKED)


def made(build: Build, plan: HardwarePlan) -> Workload:
    return build(
        gpu_count=plan.gpu_count, affinity=plan.affinity, tolerations=plan.tolerations, env=plan.env
    )


@pytest.mark.parametrize("labels", [labels_of(H100), {}], ids=["labelled", "without labels"])
async def test_a_version_lands_on_gpus_that_will_do_or_that_nobody_labelled(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl, labels: Any
) -> None:
    with gpu_node(kubectl, labels):
        plan = await plan_for(backend)
        unverified = any("unverified placement" in each for each in plan.warnings)
        assert unverified == (not labels)
        await backend.apply(made(workload, plan))
        (replica,) = await eventually(backend, ready, within=60)
        (pod,) = kubectl.get("pods")["items"]
        assert pod["metadata"]["name"] == replica.id
        assert pod["spec"]["containers"][0]["resources"]["limits"] == {GPU: "1"}


@pytest.mark.parametrize(
    "labels",
    [labels_of(T4), labels_of(A10, driver=535), labels_of(B200)],
    ids=["too small", "old driver", "another kind"],
)
async def test_a_version_waits_where_gpus_will_not_do_and_says_why(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl, labels: Any
) -> None:
    def waits(found: tuple[Replica, ...]) -> bool:
        return bool(found) and "affinity" in found[0].reason

    with gpu_node(kubectl, labels):
        await backend.apply(made(workload, await plan_for(backend)))
        (replica,) = await eventually(backend, waits, within=60)
        assert replica.node == ""


async def test_a_version_without_gpus_keeps_away_from_nodes_with_some(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    def waits(found: tuple[Replica, ...]) -> bool:
        return bool(found) and "taint" in found[0].reason

    with gpu_node(kubectl, {}):
        await backend.apply(workload(affinity=planned().affinity))
        await eventually(backend, waits, within=60)
    await eventually(backend, ready, within=60)
