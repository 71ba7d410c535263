"""The objects of a version beside its Deployment, each as a whole value."""

import base64
import json

import pytest
from parts.kubernetes_wanted import IMAGE, KEY, LABELS, LOGIN, OWNER, SELECTOR, everything, wanted

from longshore.plugins.kubernetes.kinds import (
    AUTOSCALER,
    BUDGET,
    DEPLOYMENT,
    POLICY,
    SECRET,
    SERVICE,
)
from longshore.plugins.kubernetes.labels import labels, object_name
from longshore.plugins.kubernetes.manifests import manifests


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


def test_every_object_says_whose_it_is_and_what_it_was_made_of() -> None:
    for kind, manifest in manifests(everything()).items():
        assert manifest["kind"] == kind.name
        assert manifest["metadata"]["labels"] == labels(OWNER, KEY)
        assert manifest["metadata"]["annotations"]["longshore.io/spec-hash"]
