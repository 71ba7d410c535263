"""Made-up GPUs, published as NVIDIA's driver publishes real ones to those who claim them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from parts.hardware import Kind
from parts.kubectl import Kubectl

DRIVER = "gpu.nvidia.com"


def device(name: str, kind: Kind, *, driver: str = "580.65.6", type_: str = "gpu") -> Any:
    """Return a GPU as a device of a ResourceSlice."""
    product, capability, mib = kind
    return {
        "name": name,
        "attributes": {
            "type": {"string": type_},
            "uuid": {"string": f"GPU-{name}"},
            "productName": {"string": product},
            "brand": {"string": "Nvidia"},
            "cudaComputeCapability": {"version": f"{capability}.0"},
            "driverVersion": {"version": driver},
            "cudaDriverVersion": {"version": "13.0.0"},
        },
        "capacity": {"memory": {"value": f"{mib}Mi"}},
    }


def resource_slice(node: str, name: str, *devices: Any, generation: int = 1) -> dict[str, Any]:
    """Return what a driver publishes of a node."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": name},
        "spec": {
            "driver": DRIVER,
            "nodeName": node,
            "pool": {"name": name, "generation": generation, "resourceSliceCount": 1},
            "devices": list(devices),
        },
    }


def device_class(name: str = DRIVER) -> dict[str, Any]:
    """Return the class of whole GPUs, as it is installed with NVIDIA's driver."""
    told = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'"
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": told}}]},
    }


def has_class(kubectl: Kubectl) -> bool:
    """Return whether the cluster has real GPUs to claim."""
    return DRIVER in kubectl.names("deviceclasses.v1.resource.k8s.io")


@contextmanager
def published(kubectl: Kubectl, devices: Mapping[str, Kind], **about: str) -> Iterator[None]:
    """Let the cluster's first node have these GPUs, and only these, to claim."""
    name = f"{kubectl.namespace}-gpus"
    told = [device(each, kind, **about) for each, kind in devices.items()]
    try:
        kubectl.apply(device_class())
        kubectl.apply(resource_slice(min(kubectl.names("nodes")), name, *told))
        yield
    finally:
        kubectl.run("delete", "resourceslice", name, "--ignore-not-found")
        kubectl.run("delete", "deviceclass", DRIVER, "--ignore-not-found")


def allocated(kubectl: Kubectl) -> dict[str, list[str]]:
    """Return which devices each live pod has, by the pod's name, as the claims' status says."""
    claims = json.loads(kubectl.run("get", "resourceclaims.v1.resource.k8s.io", "--output=json"))[
        "items"
    ]
    return {
        owner["name"]: [each["device"] for each in allocation["devices"]["results"]]
        for claim in claims
        if (allocation := (claim.get("status") or {}).get("allocation"))
        for owner in claim["metadata"]["ownerReferences"]
    }
