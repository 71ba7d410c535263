"""GPUs as claims: as whole values, and against Kubernetes' own schemas."""

import json
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from parts.gpu_code import CAPABILITIES, CODE, facts_of, running
from parts.hardware import ONNXRUNTIME, planned, profile
from parts.kubectl import Kubectl

from longshore.core.names import VersionKey
from longshore.core.types import Confidence, HardwarePlan, Requirement, Workload
from longshore.plugins.kubernetes.claims import claim_spec, without_gpu_labels
from longshore.plugins.kubernetes.kinds import CLAIM_TEMPLATE, DEPLOYMENT, SERVICE
from longshore.plugins.kubernetes.labels import labels, object_name
from longshore.plugins.kubernetes.manifests import manifests
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.wanted import Wanted
from longshore.plugins.kubernetes.wishes import differences

OWNER = "d1f3"
KEY = VersionKey("iris", "1")
NAME = object_name(OWNER, KEY)
ATTRIBUTES = 'device.attributes["gpu.nvidia.com"]'
CAPACITY = 'device.capacity["gpu.nvidia.com"]'
CAPABILITY = f"{ATTRIBUTES}.cudaComputeCapability"
AMD64 = Requirement(label="kubernetes.io/arch", operator="In", values=("amd64",))
VERSIONS = ("1.34", "1.36", "1.37")
"""Of Kubernetes, that serve resource.k8s.io/v1."""


def workload(plan: HardwarePlan | None = None, **fields: Any) -> Workload:
    if plan is not None:
        fields = {
            "gpu_count": plan.gpu_count,
            "gpu_mem_floor_mib": plan.gpu_mem_floor_mib,
            "affinity": plan.affinity,
            "tolerations": plan.tolerations,
            **fields,
        }
    return Workload.model_validate(
        {
            "key": KEY,
            "image": "registry.example.com/iris@sha256:" + "a" * 64,
            "replicas": 1,
            "port": 8080,
            "health_path": "/health",
            "health_required": True,
            **fields,
        }
    )


def wanted(made: Workload, allocation: str = "dra") -> Wanted:
    settings = KubernetesSettings.model_validate({"gpu_allocation": allocation})
    return Wanted(owner=OWNER, workload=made, settings=settings)


def plan_of(facts: Any, **resources: Any) -> HardwarePlan:
    return planned(profile(facts), resources={"gpu": 1, **resources})


def selectors(made: Workload) -> list[str]:
    (request,) = claim_spec(made)["spec"]["devices"]["requests"]
    return [each["cel"]["expression"] for each in request["exactly"].get("selectors", [])]


ONNX = workload(plan_of(ONNXRUNTIME, gpu_memory="20Gi"), gpu_count=2, cpu_millicores=1000)


def test_template() -> None:
    made = manifests(wanted(ONNX))[CLAIM_TEMPLATE]
    assert len(made["metadata"]["annotations"].pop("longshore.io/spec-hash")) == 16
    memory = f'"memory" in {CAPACITY} && {CAPACITY}.memory.compareTo(quantity("20480Mi")) >= 0'
    driver = f'"driverVersion" in {ATTRIBUTES} && {ATTRIBUTES}.driverVersion.major() >= 580'
    code = (
        f'"cudaComputeCapability" in {ATTRIBUTES} && (({CAPABILITY}.major() in [8, 9, 12]) || '
        f"({CAPABILITY}.major() in [7] && {CAPABILITY}.minor() >= 5))"
    )
    assert made == {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {
            "name": NAME,
            "namespace": "longshore",
            "labels": labels(OWNER, KEY),
            "annotations": {},
        },
        "spec": {
            "spec": {
                "devices": {
                    "requests": [
                        {
                            "name": "gpu",
                            "exactly": {
                                "deviceClassName": "gpu.nvidia.com",
                                "allocationMode": "ExactCount",
                                "count": 2,
                                "selectors": [
                                    {"cel": {"expression": memory}},
                                    {"cel": {"expression": driver}},
                                    {"cel": {"expression": code}},
                                ],
                            },
                        }
                    ]
                }
            }
        },
    }


def test_a_pod_claims_and_asks_nothing_of_its_nodes_gpus() -> None:
    counted = manifests(wanted(ONNX, "device-plugin"))
    claimed = manifests(wanted(ONNX))
    assert list(counted) == [SERVICE, DEPLOYMENT]
    assert list(claimed) == [SERVICE, CLAIM_TEMPLATE, DEPLOYMENT]
    before, after = (each[DEPLOYMENT]["spec"] for each in (counted, claimed))
    assert after["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    pod = after["template"]["spec"]
    assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": NAME}]
    assert pod["containers"][0]["resources"] == {
        "limits": {"cpu": "1000m"},
        "requests": {"cpu": "1000m"},
        "claims": [{"name": "gpu"}],
    }
    only = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [only]}]}
    assert pod["affinity"] == {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    }
    same = before["template"]["spec"]
    assert pod["tolerations"] == same["tolerations"] != []
    changed = {name for name in pod if pod[name] != same.get(name)}
    assert changed == {"resourceClaims", "containers", "affinity"}


def test_versions_without_gpus_claim_nothing() -> None:
    made = workload(cpu_millicores=1000)
    assert manifests(wanted(made)) == manifests(wanted(made, "device-plugin"))


def test_any_gpu_will_do_where_nothing_is_known() -> None:
    assert selectors(workload(gpu_count=1)) == []
    assert selectors(workload(plan_of({}))) == []


def test_a_floor_is_said_once() -> None:
    plan = plan_of({}, gpu_memory="20Gi")
    assert len(selectors(workload(plan))) == 1
    assert selectors(workload(plan)) == selectors(
        workload(gpu_count=1, gpu_mem_floor_mib=plan.gpu_mem_floor_mib)
    )


@pytest.mark.parametrize(
    ("sass", "ptx", "said"),
    [
        (["80"], [], ["MAJOR in [8]"]),
        (["75"], [], ["MAJOR in [7]", "MINOR >= 5"]),
        (["90a"], [], ["MAJOR in [9]", "MINOR in [0]"]),
        ([], ["80"], ["((MAJOR >= 9) || (MAJOR in [8]))"]),
        ([], ["75"], ["((MAJOR >= 8) || (MAJOR in [7] && MINOR >= 5))"]),
    ],
)
def test_code_is_for_a_set_of_gpus(sass: list[str], ptx: list[str], said: list[str]) -> None:
    told = {"sm_sass": sass, "sm_ptx": ptx}
    facts = {name: ({"x": each}, Confidence.EXACT) for name, each in told.items() if each}
    guard = f'"cudaComputeCapability" in {ATTRIBUTES} && '
    found = selectors(workload(plan_of(facts)))
    assert [
        each.removeprefix(guard)
        .replace(f"{CAPABILITY}.major()", "MAJOR")
        .replace(f"{CAPABILITY}.minor()", "MINOR")
        for each in found
    ] == said
    assert all(each.startswith(guard) for each in found)


@given(CODE)
def test_any_code_is_for_the_set_that_runs_it(code: tuple[list[str], list[str]]) -> None:
    said = " && ".join(f"({each})" for each in selectors(workload(plan_of(facts_of(*code)))))
    python = (
        said.replace(f'"cudaComputeCapability" in {ATTRIBUTES}', "True")
        .replace(f"{CAPABILITY}.major()", "major")
        .replace(f"{CAPABILITY}.minor()", "minor")
        .replace("&&", "and")
        .replace("||", "or")
    )
    found = {
        (major, minor)
        for major, minor in CAPABILITIES
        if eval(python, {"major": major, "minor": minor})  # noqa: S307 - our own words
    }
    assert found == running(*code)


def test_what_a_plugin_asks_besides_stays_with_the_node() -> None:
    product = Requirement(label="nvidia.com/gpu.product", operator="Exists")
    odd = Requirement(label="nvidia.com/gpu.compute.major", operator="In", values=("x)",))
    small = Requirement(label="nvidia.com/gpu.memory", operator="Lt", values=("20000",))
    made = workload(gpu_count=1, affinity=((AMD64, product, odd, small),))
    assert without_gpu_labels(made).affinity == ((AMD64, product, odd),)
    assert selectors(made) == [
        f'"memory" in {CAPACITY} && {CAPACITY}.memory.compareTo(quantity("20000Mi")) < 0'
    ]


def test_one_alternative_that_asks_nothing_admits_every_node() -> None:
    memory = Requirement(label="nvidia.com/gpu.memory", operator="Gt", values=("1",))
    assert without_gpu_labels(workload(affinity=((AMD64,), (memory,)))).affinity == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_own_schemas_agree(version: str) -> None:
    for manifest in manifests(wanted(ONNX)).values():
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.kubernetes
def test_what_a_cluster_makes_of_it_is_no_drift(kubectl: Kubectl) -> None:
    kubectl.run("create", "namespace", kubectl.namespace)
    for manifest in manifests(wanted(ONNX)).values():
        manifest["metadata"]["namespace"] = kubectl.namespace
        command = ("apply", "--server-side", "--dry-run=server", "--output=json", "--filename=-")
        has = json.loads(kubectl.run(*command, given=json.dumps(manifest)))
        assert list(differences(manifest, has)) == []
