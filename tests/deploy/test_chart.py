"""What the chart makes, rendered by helm itself."""

import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from parts.helm import CHART, REPOSITORY, Helm, Objects, by_name

from longshore.core.plugins_file import read_plugins_file
from longshore.core.settings import read_settings
from longshore.plugins.kubernetes.settings import KubernetesSettings

VERSIONS = ("1.30", "1.32", "1.34", "1.36", "1.37")
OF_OTHERS = {"Certificate", "PodMonitor"}
"""Kinds that Kubernetes itself does not know."""

RIGHTS = by_name((REPOSITORY / "deploy" / "kubernetes" / "rights.yaml").read_text())
BOTH = ("controller", "router")

EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": ["login"],
    "apiKey": {"value": "a-key"},
    "settings": {"max_body": 1024, "insecure_registries": ["registry:5000"]},
    "kubernetes": {"drain": 5, "router_networks": ["10.0.0.0/8"]},
    "plugins": [{"name": "headroom", "settings": {"share": 0.5}}],
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
    "controller": {"replicas": 3, "priorityClassName": "high", "podLabels": {"team": "a"}},
    "router": {
        "workers": 4,
        "grace": 90,
        "podAnnotations": {"note": "x"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "sidecars": [{"name": "proxy", "image": "proxy"}],
    },
    "serviceAccounts": {"annotations": {"cloud.example.com/role": "x"}},
    "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a": "b"}},
    "ingress": {"enabled": True, "host": "models.example.com", "tlsSecret": "tls"},
    "metrics": {"certManager": {"issuer": "ours"}},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"from": [{"namespaceSelector": {}}]},
    "nodeInspection": {
        "enabled": True,
        "runtimeClassName": "nvidia",
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "x"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "sidecars": [{"name": "proxy", "image": "proxy"}],
    },
}
LEAST: dict[str, Any] = {
    "image": {"repository": "longshore", "digest": "sha256:" + "0" * 64},
    "database": {"existingSecret": "mine", "url": ""},
    "apiKey": {"existingSecret": "mine"},
    "controller": {"replicas": 1},
    "router": {"replicas": 1},
    "metrics": {"enabled": False},
    "networkPolicy": {"enabled": False},
}
SETS = [{}, EVERYTHING, LEAST]


@pytest.fixture(params=SETS, ids=["default", "everything", "least"])
def values(request: pytest.FixtureRequest, needed: dict[str, Any]) -> dict[str, Any]:
    return {**needed, **request.param}


@pytest.fixture
def objects(values: dict[str, Any]) -> Objects:
    return Helm("apart", values).objects()


def pod(objects: Objects, component: str) -> dict[str, Any]:
    found: dict[str, Any] = objects["Deployment", f"longshore-{component}"]["spec"]["template"]
    return found


def test_helm_finds_nothing_to_complain_of(values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in Helm("apart", values).run("lint", "--strict", str(CHART))


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_own_schemas_agree(objects: Objects, version: str) -> None:
    for (kind, _), manifest in objects.items():
        if kind not in OF_OTHERS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_longshore_understands_its_settings(objects: Objects, tmp_path: Path) -> None:
    for component in BOTH:
        text = objects["ConfigMap", f"longshore-{component}"]["data"]["plugins.toml"]
        (tmp_path / "plugins.toml").write_text(text)
        file = read_plugins_file(tmp_path / "plugins.toml")
        settings = read_settings(file, {}, {})
        assert (settings.host, settings.backend) == ("0.0.0.0", "kubernetes")  # noqa: S104 - in a pod
        assert KubernetesSettings.model_validate(file.entries[0].settings).namespace == "apart"


def test_what_is_set_reaches_longshore(needed: dict[str, Any]) -> None:
    objects = Helm("apart", {**needed, **EVERYTHING}).objects()
    text = objects["ConfigMap", "longshore-router"]["data"]["plugins.toml"]
    found = tomllib.loads(text)
    ours = {"max_body": 1024, "insecure_registries": ["registry:5000"], "workers": 4, "grace": 90}
    assert found["longshore"].items() >= ours.items()
    assert found["plugin"][0]["settings"]["drain"] == 5
    assert found["plugin"][1] == {"name": "headroom", "settings": {"share": 0.5}}


def test_pods_are_restricted(objects: Objects) -> None:
    for component in BOTH:
        spec = pod(objects, component)["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in [*spec.get("initContainers", ()), *spec["containers"]]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_no_variable_comes_from_a_service(objects: Objects) -> None:
    # LONGSHORE_PORT, of a Service longshore, would be a setting.
    assert all(pod(objects, each)["spec"]["enableServiceLinks"] is False for each in BOTH)


def test_routers_are_not_killed_before_their_grace_is_over(values: dict[str, Any]) -> None:
    objects = Helm("apart", values).objects()
    spec = pod(objects, "router")["spec"]
    told = tomllib.loads(objects["ConfigMap", "longshore-router"]["data"]["plugins.toml"])
    own = told["longshore"]
    assert own["grace"] == values.get("router", {}).get("grace", 30)
    assert own["stop_delay"] == 5, "until nodes have heard that it goes"
    assert spec["terminationGracePeriodSeconds"] > own["stop_delay"] + own["grace"]


def test_selectors_find_their_own_pods(objects: Objects) -> None:
    labels = {each: pod(objects, each)["metadata"]["labels"] for each in BOTH}
    for (kind, name), manifest in objects.items():
        spec = manifest.get("spec", {})
        found = spec.get("selector") or spec.get("podSelector")
        if not found:
            continue
        wanted = found.get("matchLabels", found)
        chosen = [each for each in BOTH if wanted.items() <= labels[each].items()]
        by = "controller" if name.endswith(("controller", "metrics")) else "router"
        assert chosen == ([] if name.endswith("-node") else [by]), (kind, name)


def test_one_pod_goes_at_a_time_where_there_are_several(objects: Objects) -> None:
    for component in BOTH:
        deployment = objects["Deployment", f"longshore-{component}"]["spec"]
        assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        several = deployment["replicas"] > 1
        assert (("PodDisruptionBudget", f"longshore-{component}") in objects) is several


def test_rights_are_those_that_are_shown_to_be_used(objects: Objects) -> None:
    for component, theirs in (("controller", "longshore"), ("router", "longshore-router")):
        role = objects["Role", f"longshore-{component}"]
        assert role["rules"] == RIGHTS["Role", theirs]["rules"]
    cluster = objects["ClusterRole", "longshore-apart"]
    assert cluster["rules"] == RIGHTS["ClusterRole", "longshore"]["rules"]
    for (kind, _), manifest in objects.items():
        if kind == "ClusterRoleBinding":
            assert [each["name"] for each in manifest["subjects"]] == ["longshore-controller"]


def test_rights_to_claim_gpus_are_given_where_they_are_claimed(needed: dict[str, Any]) -> None:
    claims = by_name((REPOSITORY / "deploy" / "kubernetes" / "rights-dra.yaml").read_text())
    counting = Helm("apart", needed).objects()
    claiming = Helm("apart", {**needed, "kubernetes": {"gpu_allocation": "dra"}}).objects()
    roles = {("Role", "longshore-dra"), ("ClusterRole", "longshore-dra-apart")}
    bindings = {(f"{kind}Binding", name) for kind, name in roles}
    assert set(claiming) - set(counting) == roles | bindings
    for kind, name in roles:
        assert claiming[kind, name]["rules"] == claims[kind, "longshore-dra"]["rules"]
        binding = claiming[f"{kind}Binding", name]
        assert binding["roleRef"]["name"] == name
        assert [each["name"] for each in binding["subjects"]] == ["longshore-controller"]


def test_what_is_switched_off_is_not_there(needed: dict[str, Any]) -> None:
    kinds = {kind for kind, _ in Helm("apart", {**needed, **LEAST}).objects()}
    assert kinds == {
        *("ConfigMap", "Deployment", "Service", "ServiceAccount"),
        *("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    }


@pytest.mark.parametrize(
    ("metrics", "trusts"),
    [
        ({}, {"caBundle"}),
        ({"existingSecret": "mine", "caBundle": "-----BEGIN CERTIFICATE-----\nx\n"}, {"caBundle"}),
        ({"certManager": {"issuer": "ours"}}, set()),
    ],
)
def test_the_api_server_is_told_whom_to_trust(
    needed: dict[str, Any], metrics: dict[str, Any], trusts: set[str]
) -> None:
    objects = Helm("apart", {**needed, "metrics": metrics}).objects()
    service = objects["APIService", "v1beta1.external.metrics.k8s.io"]
    assert service["spec"].keys() & {"caBundle"} == trusts
    injected = service["metadata"].get("annotations", {}).get("cert-manager.io/inject-ca-from")
    assert injected == (None if trusts else "apart/longshore-metrics")


def test_kustomize_and_the_chart_make_the_same(needed: dict[str, Any], kustomized: str) -> None:
    given = yaml.safe_load((REPOSITORY / "deploy" / "kubernetes" / "values.yaml").read_text())
    chart, rendered = Helm("longshore", given).objects(), by_name(kustomized)
    assert rendered.pop(("Namespace", "longshore"))
    assert set(rendered) == set(chart), "run: make manifests"
    for key, manifest in chart.items():
        assert plain(rendered[key]) == plain(manifest), f"{key}; run: make manifests"


def plain(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what says by which way it came."""
    template = manifest.get("spec", {}).get("template", {"metadata": {"labels": {}}})
    for each in (manifest, template):
        each["metadata"]["labels"].pop("app.kubernetes.io/managed-by", None)
    manifest["metadata"].pop("namespace", None)
    return manifest
