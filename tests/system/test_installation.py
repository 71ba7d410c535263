"""The chart on a real cluster: installed, used, upgraded and taken away, as an operator does."""

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from parts.aggregated import GROUP
from parts.helm import REPOSITORY, Helm, HelmMissing, find_helm
from parts.installed import Installed, Ways, pods_tell
from parts.kubectl import Kubectl
from parts.platform import until
from parts.postgres import Postgres

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

INSTALL = """\
kubectl create namespace longshore
kubectl label namespace longshore pod-security.kubernetes.io/enforce=restricted
helm install longshore deploy/helm/longshore --namespace longshore --values values.yaml --wait
"""
UPGRADE = """\
helm upgrade longshore deploy/helm/longshore --namespace longshore --values values.yaml --wait
"""
INSPECTION = """\
helm upgrade longshore deploy/helm/longshore --namespace longshore --values values.yaml --set nodeInspection.enabled=true --wait
"""  # noqa: E501 - as it stands there
UNINSTALL = """\
helm uninstall longshore --namespace longshore --wait
"""

OF_THE_CLUSTER = {"kube-root-ca.crt", "openshift-service-ca.crt", "default"}
"""What each namespace has of the cluster's own."""
KINDS = (
    "deployments,daemonsets,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,"
    "poddisruptionbudgets,networkpolicies,endpointslices,leases"
)
EVERYWHERE = (
    "clusterroles,clusterrolebindings,apiservices,validatingadmissionpolicies,"
    "validatingadmissionpolicybindings"
)


@pytest.fixture
def values(ways: Ways, postgres: Postgres, platform_image: str) -> dict[str, Any]:
    sidecar = ways.sidecar(platform_image)
    repository, _, tag = platform_image.rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        "database": {"url": postgres.new_database().replace("+psycopg", "")},
        "env": ways.environment,
        "controller": {"sidecars": [sidecar], "resources": {"requests": {"cpu": "20m"}}},
        "router": {"sidecars": [sidecar], "resources": {"requests": {"cpu": "20m"}}},
        "nodeInspection": {"sidecars": [sidecar], "env": ways.environment},
        "kubernetes": {"drain": 2},
    }


@pytest.fixture
def operator(
    kubectl: Kubectl, values: dict[str, Any], tmp_path: Path
) -> Iterator[Callable[[str], str]]:
    """Runs commands of the page, in a namespace of the test's and with its values."""
    try:
        helm = find_helm()
    except HelmMissing as missing:
        pytest.skip(str(missing))
    if kubectl.run("get", "apiservice", f"v1beta1.{GROUP}", "--ignore-not-found"):
        pytest.skip("the cluster's external metrics are served by somebody else")
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))

    def run(commands: str) -> str:
        ours = commands.replace("values.yaml", str(file))
        ours = ours.replace("namespace longshore", f"namespace {kubectl.namespace}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", ours],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": f"{Path(helm).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr + pods_tell(kubectl)
        return done.stdout

    yield run
    Helm(kubectl.namespace, {}).run("uninstall", "longshore", "--ignore-not-found", given=False)


def test_from_installing_to_nothing_left(
    operator: Callable[[str], str], kubectl: Kubectl, values: dict[str, Any], behave: str
) -> None:
    assert "rollout status" in operator(INSTALL)
    installed = Installed(kubectl)
    before = installed.routers
    assert len(before) == 2
    installed.longshore("register", "behave", "1", behave)
    for router in before:
        assert until(functools.partial(installed.serves, router))
    assert installed.predict(router, key="another")[0] == 401
    # What the controllers serve reaches autoscalers by the API server.
    metrics = f"--raw=/apis/{GROUP}/v1beta1"
    assert until(
        lambda: "longshore_requests_in_flight" in kubectl.run("get", metrics, check=False), 60
    ), kubectl.run("describe", "apiservice", f"v1beta1.{GROUP}")

    operator(UPGRADE.replace("--wait", "--set router.replicas=3 --set settings.max_body=9 --wait"))
    again = Installed(kubectl)
    assert (again.key, again.certificate) == (installed.key, installed.certificate)
    assert len(again.routers) == 3
    assert not set(again.routers) & set(before)
    for router in again.routers:
        assert until(functools.partial(again.serves, router))

    again.longshore("delete", "behave:1")
    ours = ["longshore-controller", "longshore-router"]
    assert until(lambda: kubectl.names("deployments") == ours)
    operator(UNINSTALL)
    assert until(lambda: set(kubectl.names(KINDS)) <= OF_THE_CLUSTER, 90), kubectl.names(KINDS)
    everywhere = kubectl.names(EVERYWHERE)
    assert not [each for each in everywhere if kubectl.namespace in each or GROUP in each]
    there = Kubectl("kube-system").names("rolebindings")
    assert not [each for each in there if kubectl.namespace in each]


def test_nodes_are_inspected_where_that_is_switched_on(
    operator: Callable[[str], str], kubectl: Kubectl
) -> None:
    operator(INSTALL)
    installed = Installed(kubectl)
    names = {each["metadata"]["name"] for each in kubectl.get("nodes")["items"]}
    assert not kubectl.names("leases")

    operator(INSPECTION)
    assert until(lambda: set(kubectl.names("leases")) == names, 60), pods_tell(kubectl)
    [cpuinfo] = {fact(installed, name, "cpu_flags")["source"].partition(";")[0] for name in names}
    assert cpuinfo == "/proc/cpuinfo: what all CPUs have"
    for name in names:
        assert "avx" in str(fact(installed, name, "cpu_flags")["value"])
        assert "; read on the node " in fact(installed, name, "cpu_flags")["source"]
        numa = fact(installed, name, "numa")
        assert (numa["confidence"], numa["value"][0]["node"]) == ("exact", 0)
        # Without NVIDIA's runtime there is no library, and the reason stands there.
        assert fact(installed, name, "nvml_status")["value"] == "no_library"
        # Its own memory is limited to 256 MiB; that of the node is what it gives to pods.
        node = nodes(installed)[name]["node"]
        assert fact(installed, name, "memory_limit_mib")["value"] == node["memory_mib"] > 256
        assert fact(installed, name, "cpu_limit_millicores")["value"] == node["cpu_millicores"]
        assert fact(installed, name, "cpuset")["value"] is None

    shown = installed.longshore("hardware", "report", "--cluster", "--explain")
    assert "    exact, by /proc/cpuinfo: what all CPUs have; read on the node " in shown

    operator(INSPECTION.replace("true", "false"))
    assert until(lambda: not kubectl.names("leases"), 60)
    operator(UNINSTALL)
    assert until(lambda: set(kubectl.names(KINDS)) <= OF_THE_CLUSTER, 90), kubectl.names(KINDS)
    assert not [each for each in kubectl.names(EVERYWHERE) if kubectl.namespace in each]


def nodes(installed: Installed) -> dict[str, Any]:
    """Return what Longshore knows of nodes, by their names."""
    told = json.loads(installed.longshore("hardware", "report", "--cluster", "--json"))["nodes"]
    return {each["profile"]["node"]["name"]: each["profile"] for each in told}


def fact(installed: Installed, node: str, name: str) -> Any:
    return nodes(installed)[node]["facts"][name]
