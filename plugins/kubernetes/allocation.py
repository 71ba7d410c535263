"""Whether a cluster gives GPUs to claims, and which ones it has to give."""

import logging

from longshore.core.errors import WorkloadFailed
from longshore.plugins.kubernetes.claims import CLASS, DRIVER
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.devices import gpus_by_node
from longshore.plugins.kubernetes.kinds import DEVICE_CLASS, DEVICE_SLICE, Json
from longshore.plugins.kubernetes.strangers import found

log = logging.getLogger(__name__)

_INSTEAD = (
    'or let gpu_allocation of the plugin kubernetes be "device-plugin"; then: longshore wake '
    "NAME:VERSION."
)
_FORBIDDEN = 403


async def refuse_without_claims(client: Client) -> None:
    """Look whether the cluster can give GPUs to claims.

    There is no falling back to the device plugin: where both give out the same GPUs, two versions
    get one.

    Raises:
        WorkloadFailed: it cannot, and why.
    """
    try:
        there = await found(client, DEVICE_CLASS, CLASS)
    except ApiError as error:
        if error.status == _FORBIDDEN:
            raise WorkloadFailed(
                "GPUs are to be claimed, and Longshore may not list DeviceClasses: "
                f"{error.message}",
                hint="kubectl apply --filename deploy/kubernetes/rights-dra.yaml",
            ) from error
        raise
    if there is None:
        raise WorkloadFailed(
            f"GPUs are to be claimed, and the cluster has no DeviceClass {CLASS} of "
            f"{DEVICE_CLASS.api_version}",
            hint="Install NVIDIA's driver for dynamic resource allocation (Kubernetes 1.34 or "
            f"newer), {_INSTEAD}",
        )


async def published_gpus(client: Client) -> dict[str, list[Json]]:
    """Return the GPUs of each node that can be claimed; none where the cluster does not tell."""
    try:
        answer = await client.get(
            client.path(DEVICE_SLICE), {"fieldSelector": f"spec.driver={DRIVER}"}
        )
    except ApiError as error:
        log.warning("no GPUs can be claimed, for ResourceSlices cannot be read: %s", error.message)
        return {}
    return gpus_by_node(answer.get("items") or ())
