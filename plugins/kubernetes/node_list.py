"""The nodes that take pods, with all that is known of them."""

from collections.abc import Mapping, Sequence

from longshore.core.types import Evidence, Node
from longshore.plugins.kubernetes.allocation import published_gpus
from longshore.plugins.kubernetes.client import Client
from longshore.plugins.kubernetes.devices import device_facts
from longshore.plugins.kubernetes.kinds import NODE, Json
from longshore.plugins.kubernetes.node_reports import NodeReports
from longshore.plugins.kubernetes.nodes import node_of


class Nodes:
    """The nodes of a cluster.

    Args:
        client: the cluster.
        reports: what was found on nodes themselves.
        claims_gpus: whether GPUs are claimed, and not asked of NVIDIA's device plugin by number.
    """

    def __init__(self, client: Client, reports: NodeReports, *, claims_gpus: bool) -> None:
        self._client = client
        self._reports = reports
        self._claims_gpus = claims_gpus
        self._devices: dict[str, tuple[Node, Mapping[str, Evidence]]] = {}
        """By the node's name: what its GPUs tell, as they were read last."""

    async def look(self) -> Sequence[Node]:
        """Return the nodes that take pods, with what was reported of them.

        Raises:
            ApiError: they cannot be listed.
        """
        answer = await self._client.get(self._client.path(NODE))
        await self._reports.looked()
        taking = [each for each in answer["items"] if not each["spec"].get("unschedulable")]
        if not self._claims_gpus:
            return [self._reported(each) for each in taking]
        published = await published_gpus(self._client)
        gpus = [published.get(each["metadata"]["name"], []) for each in taking]
        nodes = [self._reported(*each) for each in zip(taking, map(len, gpus), strict=True)]
        self._devices = {
            node.name: (node, device_facts(its)) for node, its in zip(nodes, gpus, strict=True)
        }
        return nodes

    def facts(self, node: Node) -> Mapping[str, Evidence] | None:
        """Return what is known of a node by its GPUs; None where nothing is."""
        known = self._devices.get(node.name)
        # A node of another backend may be called the same.
        return known[1] if known and known[0] == node else None

    def _reported(self, item: Json, gpus: int | None = None) -> Node:
        return node_of(item, gpus).model_copy(update={"report": self._reports.of(item)})
