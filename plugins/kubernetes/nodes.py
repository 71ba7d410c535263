"""The cluster's nodes as placement sees them. Pure."""

import re
from decimal import Decimal

from longshore.core.types import Node
from longshore.plugins.kubernetes.kinds import Json
from longshore.plugins.kubernetes.pods import GPU

_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}
_QUANTITY = re.compile(r"([0-9.]+)([a-zA-Z]*)")


def quantity(text: str) -> Decimal:
    """Return an amount as Kubernetes writes it; 0 for what is none."""
    found = _QUANTITY.fullmatch(text)
    return Decimal(found[1]) * _FACTORS.get(found[2], Decimal(0)) if found else Decimal(0)


def node_of(item: Json, claimable: int | None = None) -> Node:
    """Return what a node gives to pods: its capacity less what is kept for the system.

    Args:
        item: the node.
        claimable: how many GPUs it has for claims; None where they are counted instead.
    """
    gives, about = item["status"]["allocatable"], item["status"]["nodeInfo"]
    return Node(
        name=item["metadata"]["name"],
        architecture=about["architecture"],
        cpu_millicores=int(quantity(gives["cpu"]) * 1000),
        memory_mib=int(quantity(gives["memory"]) / 2**20),
        gpus=int(quantity(gives.get(GPU, "0"))) if claimable is None else claimable,
        labels=item["metadata"].get("labels") or {},
        images=tuple(
            name for each in item["status"].get("images") or () for name in each.get("names") or ()
        ),
    )
