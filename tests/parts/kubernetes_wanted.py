"""What is wanted of Kubernetes for a version, from the smallest to everything, and its pod."""

from typing import Any

from pydantic import SecretStr

from longshore.core.names import VersionKey
from longshore.core.settings import RegistryLogin
from longshore.core.types import Workload
from longshore.plugins.kubernetes.labels import object_name
from longshore.plugins.kubernetes.manifests import deployment
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.wanted import Wanted

OWNER = "d1f3"
KEY = VersionKey("iris", "1.0_b")
IMAGE = "registry.example.com/iris@sha256:" + "a" * 64
LOGIN = RegistryLogin(username="ada", password=SecretStr("s3cret"))
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


def wanted(
    settings: dict[str, object] | None = None,
    *,
    around: dict[str, Any] | None = None,
    **fields: Any,
) -> Wanted:
    """Return what is wanted for the smallest version, or for one with other fields.

    Args:
        settings: of the plugin.
        around: what is wanted besides the workload.
        fields: of the workload.
    """
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


def pod(**fields: Any) -> dict[str, Any]:
    """Return the pod of what is wanted."""
    found: dict[str, Any] = deployment(wanted(**fields))["spec"]["template"]["spec"]
    return found


def container(**fields: Any) -> dict[str, Any]:
    """Return the container of what is wanted."""
    found: dict[str, Any] = pod(**fields)["containers"][0]
    return found
