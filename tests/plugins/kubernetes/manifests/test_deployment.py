"""A version's Deployment, as a whole value, and what of it depends on the version."""

import pytest
from parts.kubernetes_wanted import IMAGE, KEY, LABELS, OWNER, SELECTOR, everything, wanted

from longshore.core.errors import WorkloadFailed
from longshore.plugins.kubernetes.labels import object_name
from longshore.plugins.kubernetes.manifests import deployment

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


def test_a_gpu_is_freed_before_it_is_asked_for_again() -> None:
    strategy = deployment(wanted(gpu_count=1))["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}


def test_no_time_to_drain_needs_no_hook() -> None:
    made = deployment(wanted({"drain": 0, "stop_grace": 5}))["spec"]["template"]["spec"]
    assert "lifecycle" not in made["containers"][0]
    assert made["terminationGracePeriodSeconds"] == 5


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
