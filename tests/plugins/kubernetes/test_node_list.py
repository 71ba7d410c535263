"""The nodes that take pods, with what is known of their GPUs."""

from typing import Any

import pytest
from parts.memory_cluster import MemoryApi, memory_cluster

from longshore.core.types import Node
from longshore.plugins.kubernetes.kinds import DEVICE_SLICE, NODE
from longshore.plugins.kubernetes.node_list import Nodes
from longshore.plugins.kubernetes.node_reports import NodeReports


class NoReports(NodeReports):
    """Nothing was reported, and nobody is waited for."""

    async def looked(self) -> None:
        return


def node(api: MemoryApi, name: str, **spec: Any) -> None:
    given = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    status = {"allocatable": given, "nodeInfo": {"architecture": "amd64"}}
    api.put(NODE, name, spec=spec, status=status)


def published(api: MemoryApi, on: str, *names: str) -> None:
    devices = [
        {
            "name": name,
            "attributes": {"type": {"string": "gpu"}, "productName": {"string": "NVIDIA T4"}},
            "capacity": {"memory": {"value": "15Gi"}},
        }
        for name in names
    ]
    spec = {
        "driver": "gpu.nvidia.com",
        "nodeName": on,
        "pool": {"name": on, "generation": 1, "resourceSliceCount": 1},
        "devices": devices,
    }
    api.put(DEVICE_SLICE, f"slice-{on}", spec=spec)


def nodes(api: MemoryApi, *, claims: bool) -> Nodes:
    return Nodes(api, NoReports(api), claims_gpus=claims)


async def test_nodes_that_take_no_pods_are_left_out() -> None:
    api, _ = memory_cluster()
    node(api, "a")
    node(api, "b", unschedulable=True)
    (found,) = await nodes(api, claims=False).look()
    assert (found.name, found.gpus) == ("a", 1)


@pytest.mark.parametrize("count", [0, 2])
async def test_gpus_that_are_claimed_are_counted_as_published(count: int) -> None:
    api, _ = memory_cluster()
    node(api, "a")
    published(api, "a", *(f"gpu-{number}" for number in range(count)))
    looked = nodes(api, claims=True)
    (found,) = await looked.look()
    assert found.gpus == count
    facts = looked.facts(found)
    assert facts is not None
    gpus = facts["gpus"].value
    assert isinstance(gpus, list)
    assert len(gpus) == count


async def test_what_is_known_of_a_node_is_not_told_of_one_that_is_called_the_same() -> None:
    api, _ = memory_cluster()
    node(api, "a")
    published(api, "a", "gpu-0")
    looked = nodes(api, claims=True)
    (found,) = await looked.look()
    assert looked.facts(found)
    of_an_engine = Node(name="a", architecture="amd64", cpu_millicores=1000, memory_mib=1024)
    assert looked.facts(of_an_engine) is None
    assert looked.facts(found.model_copy(update={"name": "b"})) is None


async def test_without_claims_gpus_tell_nothing() -> None:
    api, _ = memory_cluster()
    node(api, "a")
    looked = nodes(api, claims=False)
    (found,) = await looked.look()
    assert looked.facts(found) is None
