"""What a version's container may do, is given and is asked for."""

from typing import Any

import pytest
from parts.kubernetes_wanted import container, pod


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
