"""What an operator can set of the plugin."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Network = Annotated[str, AfterValidator(_network)]


class KubernetesSettings(BaseModel):
    """Settings of the plugin ``kubernetes`` in plugins.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kubeconfig: Path | None = None
    """The file that says where the cluster is; if left out, KUBECONFIG, ~/.kube/config and the
    service account of the pod that Longshore runs in are tried, in this order."""
    context: str | None = None
    """Which of the file's contexts; its current one if left out."""
    namespace: DnsLabel = "longshore"
    """Where everything of ours is; made if it is missing and Longshore may."""
    drain: Annotated[int, Field(ge=0, le=3600)] = 30
    """Seconds that a pod goes on answering after it was taken out of the routes."""
    stop_grace: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds from the signal to stop until the kill."""
    wait_for_room: Annotated[int, Field(ge=0, le=86400)] = 30
    """Seconds for which the scheduler may find no node for a pod before its version counts as
    failed, and requests to it hear so at once. Another version may be about to make room; where
    nodes are added when they are needed, give it the time that this takes."""
    run_as: Annotated[int, Field(ge=1, le=2**31 - 1)] = 10001
    """User id for images that do not name a number of their own; never root."""
    tmp_size: str | None = None
    """Most that a pod may write to /tmp (``"2Gi"``); as much as the node has if left out."""
    routers: Mapping[str, str] = {}
    """Labels of the pods that may reach model pods, in the same namespace."""
    router_networks: tuple[Network, ...] = ()
    """Networks that may reach model pods (``"10.0.0.5/32"``). Without any router named, no
    NetworkPolicy is made."""
    prepull: Annotated[int, Field(ge=0, le=100)] = 0
    """On how many nodes, the best of its placement first, a version's image is pulled ahead; on
    none by default, because it takes space on their disks."""
    gpu_allocation: Literal["device-plugin", "dra"] = "device-plugin"
    """How pods get GPUs: counted by NVIDIA's device plugin, or claimed by what each must be, by
    dynamic resource allocation."""
    autoscale_on: Literal["requests", "cpu"] = "requests"
    """What a HorizontalPodAutoscaler goes by: requests in flight per pod, or CPU utilisation."""
    cpu_utilisation: Annotated[int, Field(ge=1, le=100)] = 70
    """Percent of the CPU request that an autoscaler on CPU aims at."""
    scale_down_after: Annotated[int, Field(ge=0, le=3600)] = 300
    """Seconds of less load before an autoscaler takes replicas away."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where to serve requests in flight to autoscalers; they are not served if left out."""
    metrics_host: str = "0.0.0.0"  # noqa: S104 - only the API server's certificate opens it
    """Address to serve them on."""
    metrics_certificate: Path | None = None
    """Certificate to serve them with, in PEM; its authority stands in the APIService."""
    metrics_key: Path | None = None
    """Its key, in PEM."""

    @property
    def claims_gpus(self) -> bool:
        """Whether GPUs are claimed, and not counted."""
        return self.gpu_allocation == "dra"

    @model_validator(mode="after")
    def _metrics_need_a_certificate(self) -> Self:
        if self.metrics_port and not (self.metrics_certificate and self.metrics_key):
            raise ValueError("metrics_port needs metrics_certificate and metrics_key")
        return self
