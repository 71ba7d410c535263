"""A workload as Kubernetes objects: as whole values, and against Kubernetes' own schemas."""

import base64
import json
from typing import Any

import kubernetes_validate
import pytest
from parts.kubectl import Kubectl
from pydantic import SecretStr

from longshore.core.errors import WorkloadFailed
from longshore.core.names import VersionKey
from longshore.core.settings import RegistryLogin
from longshore.core.types import Workload
from longshore.plugins.kubernetes.kinds import (
    AUTOSCALER,
    BUDGET,
    CLAIM_TEMPLATE,
    DEPLOYMENT,
    OURS,
    POLICY,
    SECRET,
    SERVICE,
)
from longshore.plugins.kubernetes.labels import labels, object_name
from longshore.plugins.kubernetes.manifests import deployment, manifests
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.wanted import Wanted
from longshore.plugins.kubernetes.wishes import differences

OWNER = "d1f3"
KEY = VersionKey("iris", "1.0_b")
IMAGE = "registry.example.com/iris@sha256:" + "a" * 64
LOGIN = RegistryLogin(username="ada", password=SecretStr("s3cret"))
VERSIONS = ("1.30", "1.32", "1.34", "1.36", "1.37")
"""Of Kubernetes; the sleep before a pod stops came with 1.30."""


def wanted(
    settings: dict[str, object] | None = None,
    *,
    around: dict[str, Any] | None = None,
    **fields: Any,
) -> Wanted:
    workload = Workload.model_validate(
        {
            "key": KEY,
            "image": IMAGE,
            "replicas": 1,
            "port": 8080,
            "health_path": "/health",
            "health_required": True,
            **fields,
        }
    )
    chosen = KubernetesSettings.model_validate(settings or {})
    return Wanted(owner=OWNER, workload=workload, settings=chosen, **(around or {}))


ARCHITECTURE = {"label": "kubernetes.io/arch", "operator": "In", "values": ("amd64",)}
AFFINITY: tuple[tuple[dict[str, Any], ...], ...] = (
    (ARCHITECTURE, {"label": "nvidia.com/gpu.memory", "operator": "Gt", "values": ("20479",)}),
    (ARCHITECTURE, {"label": "nvidia.com/gpu.memory", "operator": "DoesNotExist"}),
)
FEATURE = {
    "label": "feature.node.kubernetes.io/cpu-cpuid.AVX512F",
    "operator": "In",
    "values": ("true",),
}


def everything() -> Wanted:
    """Return a version that needs every object and every field."""
    return wanted(
        {
            "routers": {"app": "router"},
            "router_networks": ["10.0.0.5/32", "fd00::/8"],
            "tmp_size": "2048Mi",
        },
        around={
            "login": LOGIN,
            "nodes": ("node-1", "node-2"),
            "autoscaled": True,
            "writable_because": "as registered",
        },
        command=("serve", "--fast"),
        env={"COLOUR": "blue"},
        labels={"team": "a", "note": "two words"},
        cpu_millicores=2000,
        memory_mib=1024,
        gpu_count=1,
        affinity=(AFFINITY[0], AFFINITY[1]),
        preferred=(FEATURE,),
        tolerations=({"key": "nvidia.com/gpu"},),
        node_selector={"disk": "ssd"},
        scaling={"min": 2, "max": 5, "target": 7},
        security={"run_as": 0, "capabilities": ["BPF"], "seccomp_unconfined": True},
    )


LABELS = {
    "longshore.io/owner": OWNER,
    "longshore.io/workload": object_name(OWNER, KEY),
    "app.kubernetes.io/name": "iris",
    "app.kubernetes.io/instance": object_name(OWNER, KEY),
    "app.kubernetes.io/component": "model",
    "app.kubernetes.io/part-of": "longshore",
    "app.kubernetes.io/managed-by": "longshore",
    "app.kubernetes.io/version": "1.0_b",
}
SELECTOR = {
    "longshore.io/owner": OWNER,
    "longshore.io/workload": object_name(OWNER, KEY),
}
PROBE = {"httpGet": {"path": "/health", "port": "http"}}
KNOCK = {"tcpSocket": {"port": "http"}}


def test_smallest_deployment() -> None:
    made = wanted()
    manifest = deployment(made)
    spec_hash = manifest["metadata"]["annotations"].pop("longshore.io/spec-hash")
    assert len(spec_hash) == 16
    assert manifest == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": object_name(OWNER, KEY),
            "namespace": "longshore",
            "labels": LABELS,
            "annotations": {
                "longshore.io/model": "iris",
                "longshore.io/version": "1.0_b",
                "longshore.io/fingerprint": made.workload.fingerprint,
            },
        },
        "spec": {
            "selector": {"matchLabels": SELECTOR},
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 360,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {
                "metadata": {
                    "labels": LABELS,
                    "annotations": {
                        "longshore.io/fingerprint": made.workload.fingerprint,
                        "longshore.io/health-path": "/health",
                        "longshore.io/health-required": "true",
                        "longshore.io/startup": "300",
                        "longshore.io/writable-root": "none",
                        "kubectl.kubernetes.io/default-container": "model",
                    },
                },
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 60,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "model",
                            "image": IMAGE,
                            "imagePullPolicy": "IfNotPresent",
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - inside
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True,
                            },
                            "volumeMounts": [
                                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - inside
                                {"name": "var-tmp", "mountPath": "/var/tmp"},  # noqa: S108 - inside
                                {"name": "run", "mountPath": "/run"},
                            ],
                            "terminationMessagePolicy": "File",
                            "startupProbe": {
                                **PROBE,
                                "periodSeconds": 1,
                                "timeoutSeconds": 10,
                                "failureThreshold": 300,
                                "terminationGracePeriodSeconds": 5,
                            },
                            "readinessProbe": {
                                **PROBE,
                                "periodSeconds": 3,
                                "timeoutSeconds": 10,
                                "failureThreshold": 3,
                            },
                            "livenessProbe": {
                                **KNOCK,
                                "periodSeconds": 10,
                                "timeoutSeconds": 10,
                                "failureThreshold": 6,
                                "terminationGracePeriodSeconds": 5,
                            },
                            "lifecycle": {"preStop": {"sleep": {"seconds": 30}}},
                        }
                    ],
                    "volumes": [
                        {"name": "tmp", "emptyDir": {}},
                        {"name": "var-tmp", "emptyDir": {}},
                        {"name": "run", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def test_a_simple_version_is_a_deployment_and_a_service() -> None:
    assert list(manifests(wanted())) == [SERVICE, DEPLOYMENT]


def test_service() -> None:
    made = manifests(wanted())[SERVICE]
    assert made["metadata"]["labels"] == LABELS
    assert made["spec"] == {
        "clusterIP": "None",
        "selector": SELECTOR,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "targetPort": "http"}],
    }


def test_autoscaler_on_requests() -> None:
    made = manifests(everything())[AUTOSCALER]["spec"]
    assert made == {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": object_name(OWNER, KEY),
        },
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "External",
                "external": {
                    "metric": {
                        "name": "longshore_requests_in_flight",
                        "selector": {"matchLabels": SELECTOR},
                    },
                    "target": {"type": "AverageValue", "averageValue": "7"},
                },
            }
        ],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                ],
            },
            "scaleDown": {"stabilizationWindowSeconds": 300},
        },
    }


def test_autoscaler_on_cpu() -> None:
    settings = {"autoscale_on": "cpu", "cpu_utilisation": 60}
    made = manifests(wanted(settings, around={"autoscaled": True}))[AUTOSCALER]["spec"]
    target = {"type": "Utilization", "averageUtilization": 60}
    assert made["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert made["minReplicas"] == 1


def test_budget() -> None:
    made = manifests(everything())[BUDGET]
    assert (made["apiVersion"], made["kind"]) == ("policy/v1", "PodDisruptionBudget")
    assert made["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": SELECTOR},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def test_only_routers_reach_the_pods() -> None:
    made = manifests(everything())[POLICY]["spec"]
    assert made == {
        "podSelector": {"matchLabels": SELECTOR},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {"podSelector": {"matchLabels": {"app": "router"}}},
                    {"ipBlock": {"cidr": "10.0.0.5/32"}},
                    {"ipBlock": {"cidr": "fd00::/8"}},
                ],
                "ports": [{"port": "http", "protocol": "TCP"}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("image", "host"),
    [(IMAGE, "registry.example.com"), ("docker.io/a/b@sha256:0", "https://index.docker.io/v1/")],
)
def test_the_login_for_the_images_registry_alone(image: str, host: str) -> None:
    made = manifests(wanted(around={"login": LOGIN}, image=image))
    secret = made[SECRET]
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    content = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    auth = base64.b64encode(b"ada:s3cret").decode()
    assert content == {"auths": {host: {"username": "ada", "password": "s3cret", "auth": auth}}}
    pod = made[DEPLOYMENT]["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": secret["metadata"]["name"]}]


def pod(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = deployment(wanted(**fields))["spec"]["template"]["spec"]
    return found


def container(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(**fields)["containers"][0]
    return found


@pytest.mark.parametrize(
    ("image_user", "security", "says"),
    [
        ("", {}, {"runAsNonRoot": True, "runAsUser": 10001}),
        ("0", {}, {"runAsNonRoot": True, "runAsUser": 10001}),
        ("root", {}, {"runAsNonRoot": True, "runAsUser": 10001}),
        ("app", {}, {"runAsNonRoot": True, "runAsUser": 10001}),
        ("1000:1000", {}, {"runAsNonRoot": True}),
        ("1000", {"run_as": 7}, {"runAsNonRoot": True, "runAsUser": 7}),
        ("1000", {"run_as": 0}, {"runAsNonRoot": False, "runAsUser": 0}),
    ],
)
def test_never_root_unless_the_version_says_so(
    image_user: str, security: dict[str, Any], says: dict[str, Any]
) -> None:
    context = pod(image_user=image_user, security=security)["securityContext"]
    assert context == {**says, "seccompProfile": {"type": "RuntimeDefault"}}


def test_a_home_only_for_users_that_have_none() -> None:
    assert container()["env"] == [{"name": "HOME", "value": "/tmp"}]  # noqa: S108 - inside
    assert container(image_user="1000")["env"] == []
    assert container(env={"HOME": "/x"})["env"] == [{"name": "HOME", "value": "/x"}]


def test_each_relaxation_is_taken_alone() -> None:
    strict = container()["securityContext"]
    security = container(security={"privilege_escalation": True})["securityContext"]
    assert security == {**strict, "allowPrivilegeEscalation": True}
    security = container(security={"capabilities": ["BPF"]})["securityContext"]
    assert security == {**strict, "capabilities": {"drop": ["ALL"], "add": ["BPF"]}}
    context = pod(security={"seccomp_unconfined": True})["securityContext"]
    assert context["seccompProfile"] == {"type": "Unconfined"}
    security = container(around={"writable_because": "as registered"})["securityContext"]
    assert security == {**strict, "readOnlyRootFilesystem": False}


def test_dollars_are_not_references() -> None:
    made = container(env={"A": "$(HOME) $x"}, image_user="1", command=("$(A)",))
    assert made["env"] == [{"name": "A", "value": "$$(HOME) $x"}]
    assert made["args"] == ["$$(A)"]


def test_a_missing_health_path_is_no_fault_of_a_kubelet_to_find() -> None:
    made = container(health_required=False)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "httpGet" not in made[probe]
        assert made[probe]["tcpSocket"] == {"port": "http"}


def test_a_long_start_is_waited_for() -> None:
    assert container(startup=1800.5)["startupProbe"]["failureThreshold"] == 1801
    assert container(startup=0.1)["startupProbe"]["failureThreshold"] == 1


def test_resources_are_limits_and_requests() -> None:
    amounts = {"cpu": "500m", "memory": "256Mi", "nvidia.com/gpu": "1"}
    made = container(cpu_millicores=500, memory_mib=256, gpu_count=1)
    assert made["resources"] == {"limits": amounts, "requests": amounts}
    assert "resources" not in container()


def test_a_gpu_is_freed_before_it_is_asked_for_again() -> None:
    strategy = deployment(wanted(gpu_count=1))["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}


def test_no_time_to_drain_needs_no_hook() -> None:
    made = deployment(wanted({"drain": 0, "stop_grace": 5}))["spec"]["template"]["spec"]
    assert "lifecycle" not in made["containers"][0]
    assert made["terminationGracePeriodSeconds"] == 5


def test_only_on_its_nodes() -> None:
    made = pod(around={"nodes": ("a", "b")})["affinity"]["nodeAffinity"]
    terms = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
        for name in ("a", "b")
    ]
    assert made == {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


AMD64 = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
LARGE = {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["20479"]}
UNKNOWN = {"key": "nvidia.com/gpu.memory", "operator": "DoesNotExist"}


def test_the_plan_becomes_affinity_tolerations_and_a_selector() -> None:
    made = pod(
        affinity=AFFINITY,
        preferred=(FEATURE,),
        tolerations=({"key": "nvidia.com/gpu"},),
        node_selector={"disk": "ssd"},
    )
    assert made["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [AMD64, LARGE]},
                    {"matchExpressions": [AMD64, UNKNOWN]},
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 10,
                    "preference": {
                        "matchExpressions": [
                            {
                                "key": "feature.node.kubernetes.io/cpu-cpuid.AVX512F",
                                "operator": "In",
                                "values": ["true"],
                            }
                        ]
                    },
                }
            ],
        }
    }
    assert made["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert made["nodeSelector"] == {"disk": "ssd"}
    assert not {"affinity", "tolerations", "nodeSelector"} & pod().keys()


def test_each_alternative_holds_on_each_of_its_nodes() -> None:
    made = pod(around={"nodes": ("a", "b")}, affinity=AFFINITY)["affinity"]["nodeAffinity"]
    terms = made["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [
        {
            "matchExpressions": [AMD64, last],
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}],
        }
        for name in ("a", "b")
        for last in (LARGE, UNKNOWN)
    ]


def test_foreign_labels_find_their_place_and_never_ours() -> None:
    made = deployment(
        wanted(labels={"team": "a", "note": "two words", "longshore.io/owner": "mine"})
    )["spec"]["template"]["metadata"]
    assert made["labels"] == {**LABELS, "team": "a"}
    assert made["annotations"]["note"] == "two words"
    with pytest.raises(WorkloadFailed, match="'two words', which cannot name a label"):
        deployment(wanted(labels={"two words": "x"}))


def test_the_number_of_replicas_is_never_applied() -> None:
    assert "replicas" not in deployment(everything())["spec"]


def test_every_object_says_whose_it_is_and_what_it_was_made_of() -> None:
    for kind, manifest in manifests(everything()).items():
        assert manifest["kind"] == kind.name
        assert manifest["metadata"]["labels"] == labels(OWNER, KEY)
        assert manifest["metadata"]["annotations"]["longshore.io/spec-hash"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("made", [wanted(), everything()], ids=["smallest", "everything"])
def test_kubernetes_own_schemas_agree(made: Wanted, version: str) -> None:
    found = manifests(made)
    for manifest in found.values():
        kubernetes_validate.validate(manifest, version, strict=True)
    # What only claimed GPUs need is in test_claims.py.
    assert made.autoscaled is False or set(found) == set(OURS) - {CLAIM_TEMPLATE}


@pytest.mark.kubernetes
@pytest.mark.parametrize("made", [wanted(), everything()], ids=["smallest", "everything"])
def test_what_a_cluster_makes_of_it_is_no_drift(made: Wanted, kubectl: Kubectl) -> None:
    kubectl.run("create", "namespace", kubectl.namespace)
    for manifest in manifests(made).values():
        manifest["metadata"]["namespace"] = kubectl.namespace
        command = ("apply", "--server-side", "--dry-run=server", "--output=json", "--filename=-")
        has = json.loads(kubectl.run(*command, given=json.dumps(manifest)))
        assert list(differences(manifest, has)) == []


def test_the_schemas_would_notice() -> None:
    manifest = deployment(wanted())
    manifest["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
