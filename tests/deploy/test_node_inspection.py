"""The part of the chart that inspects nodes: off by default, and with next to no rights."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from parts.helm import Helm, Objects

from longshore.core.plugins_file import read_plugins_file
from longshore.core.settings import read_settings
from longshore.hardware.node.settings import NodesSettings
from longshore.plugins.kubernetes.settings import KubernetesSettings

ON: dict[str, Any] = {"enabled": True}


@pytest.fixture
def objects(needed: dict[str, Any]) -> Objects:
    return Helm("apart", {**needed, "nodeInspection": ON}).objects()


def pod(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = objects["DaemonSet", "longshore-node"]["spec"]["template"]
    return found


def test_nothing_of_it_is_there_unless_it_is_switched_on(needed: dict[str, Any]) -> None:
    without, on = (
        Helm("apart", {**needed, **more}).objects() for more in ({}, {"nodeInspection": ON})
    )
    assert set(on) - set(without) == {
        ("ConfigMap", "longshore-node"),
        ("DaemonSet", "longshore-node"),
        ("ServiceAccount", "longshore-node"),
        ("Role", "longshore-node"),
        ("RoleBinding", "longshore-node"),
        ("NetworkPolicy", "longshore-node"),
        ("ValidatingAdmissionPolicy", "longshore-node-apart"),
        ("ValidatingAdmissionPolicyBinding", "longshore-node-apart"),
    }
    assert not any("node" in name for _, name in without)


def test_pods_are_restricted_and_see_nothing_of_the_host_but_what_all_pods_see(
    objects: Objects,
) -> None:
    spec = pod(objects)["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostPID", "hostNetwork", "hostIPC"} & spec.keys()
    assert [next(iter(each.keys() - {"name"})) for each in spec["volumes"]] == ["configMap"]
    assert not any("nvidia.com" in json.dumps(each) for each in container["resources"].values())


def test_pods_have_no_secret(needed: dict[str, Any]) -> None:
    secrets = {
        "env": [{"name": "LONGSHORE_REGISTRIES", "value": "a-secret"}],
        "settings": {"log_level": "debug", "registries": {"x": {"password": "a-secret"}}},
        "plugins": [{"name": "theirs", "settings": {"token": "a-secret"}}],
        "serviceAccounts": {"annotations": {"cloud.example.com/role": "a-secret"}},
        "kubernetes": {"tmp_size": "a-secret"},
    }
    objects = Helm("apart", {**needed, **secrets, "nodeInspection": ON}).objects()
    theirs = [each for (_, name), each in objects.items() if name.startswith("longshore-node")]
    text = json.dumps(theirs)
    assert "a-secret" not in text
    assert "secretKeyRef" not in text
    assert "log_level" in text


def test_they_may_write_leases_and_nothing_else(objects: Objects) -> None:
    assert objects["Role", "longshore-node"]["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["create", "patch"],
        }
    ]
    bound = [
        (kind, manifest["roleRef"]["name"])
        for (kind, _), manifest in objects.items()
        if kind in {"RoleBinding", "ClusterRoleBinding"}
        and any(each["name"] == "longshore-node" for each in manifest["subjects"])
    ]
    assert bound == [("RoleBinding", "longshore-node")]


def test_they_reach_neither_models_nor_controllers(objects: Objects) -> None:
    labels = pod(objects)["metadata"]["labels"]
    text = objects["ConfigMap", "longshore-controller"]["data"]["plugins.toml"]
    models = tomllib.loads(text)["plugin"][0]["settings"]["routers"]
    controllers = objects["NetworkPolicy", "longshore-controller"]["spec"]["ingress"]
    [callers] = controllers[0]["from"]
    for admitted in (models, callers["podSelector"]["matchLabels"]):
        assert not admitted.items() <= labels.items()
    policy = objects["NetworkPolicy", "longshore-node"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert (policy["policyTypes"], policy.get("ingress")) == (["Ingress"], None)


def test_the_daemon_set_finds_its_pods_and_no_value_renames_them(needed: dict[str, Any]) -> None:
    given = {**ON, "podLabels": {"app.kubernetes.io/name": "longshore", "team": "a"}}
    objects = Helm("apart", {**needed, "nodeInspection": given}).objects()
    selector = objects["DaemonSet", "longshore-node"]["spec"]["selector"]["matchLabels"]
    labels = pod(objects)["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert labels["team"] == "a"


def test_it_runs_on_every_node_whatever_its_taints(needed: dict[str, Any]) -> None:
    spec = pod(Helm("apart", {**needed, "nodeInspection": ON}).objects())["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "runtimeClassName" not in spec
    narrow = {**ON, "tolerations": [], "runtimeClassName": "nvidia", "nodeSelector": {"gpu": "yes"}}
    spec = pod(Helm("apart", {**needed, "nodeInspection": narrow}).objects())["spec"]
    assert "tolerations" not in spec
    assert spec["nodeSelector"] == {"gpu": "yes", "kubernetes.io/os": "linux"}
    assert spec["runtimeClassName"] == "nvidia"
    variables = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert variables["NVIDIA_DRIVER_CAPABILITIES"] == "utility"


def test_longshore_understands_its_settings(needed: dict[str, Any], tmp_path: Path) -> None:
    own = {"driver_seconds": 60, "this_node": "the-controllers"}
    plugins = [{"name": "nodes", "settings": own}, {"name": "theirs"}]
    values = {**needed, "nodeInspection": ON, "plugins": plugins}
    text = Helm("apart", values).objects()["ConfigMap", "longshore-node"]["data"]["plugins.toml"]
    (tmp_path / "plugins.toml").write_text(text)
    file = read_plugins_file(tmp_path / "plugins.toml")
    assert read_settings(file, {}, {}).backend == "kubernetes"
    kubernetes, nodes = file.entries
    assert KubernetesSettings.model_validate(kubernetes.settings).namespace == "apart"
    read = NodesSettings.model_validate(nodes.settings)
    assert (read.driver_seconds, read.this_node) == (60, None)
