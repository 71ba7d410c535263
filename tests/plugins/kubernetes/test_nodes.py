"""Nodes as placement sees them."""

from decimal import Decimal

import pytest

from longshore.core.types import Node
from longshore.plugins.kubernetes.nodes import node_of, quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2", Decimal(2)),
        ("1500m", Decimal("1.5")),
        ("2Ki", Decimal(2048)),
        ("1.5Gi", Decimal(1610612736)),
        ("3M", Decimal(3_000_000)),
        ("", Decimal(0)),
        ("many", Decimal(0)),
    ],
)
def test_quantities(text: str, amount: Decimal) -> None:
    assert quantity(text) == amount


def test_a_node_is_what_pods_may_use_of_it() -> None:
    item = {
        "metadata": {"name": "gpu-1", "labels": {"zone": "a"}},
        "status": {
            "capacity": {"cpu": "8", "memory": "64Gi"},
            "allocatable": {"cpu": "7500m", "memory": "62Gi", "nvidia.com/gpu": "2"},
            "nodeInfo": {"architecture": "arm64"},
        },
    }
    assert node_of(item) == Node(
        name="gpu-1",
        architecture="arm64",
        cpu_millicores=7500,
        memory_mib=62 * 1024,
        gpus=2,
        labels={"zone": "a"},
    )


def test_images_that_a_node_has_are_told_by_all_their_names() -> None:
    names = [["docker.io/library/iris@sha256:00", "docker.io/library/iris:1"], None]
    item = {
        "metadata": {"name": "n"},
        "status": {
            "allocatable": {"cpu": "1", "memory": "1Gi"},
            "nodeInfo": {"architecture": "amd64"},
            "images": [{"names": each} for each in names],
        },
    }
    assert node_of(item).images == tuple(names[0] or ())
