"""What is known of a node."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from longshore.core.types.base import Value
from longshore.core.types.images import Evidence


class NodeReport(Value):
    """What inspection on a node itself told of it a while ago, as its backend passes it on."""

    facts: Mapping[str, Evidence]
    """Of others: whoever goes by them checks them first."""
    read_at: datetime
    lasts: float
    """Seconds from then on within which there should be a newer one."""


class Node(Value):
    """A machine that can run containers, as its backend describes it."""

    name: str
    architecture: str
    """As images call it: ``amd64``, ``arm64``."""
    cpu_millicores: int
    memory_mib: int
    gpus: int = 0
    labels: Mapping[str, str] = {}
    images: tuple[str, ...] = ()
    """Names of those that it has already; empty where that is not known."""
    report: NodeReport | None = Field(default=None, exclude=True, repr=False)
    """Where inspection runs on it; what becomes of it stands in the node's profile."""


class NodeProfile(Value):
    """A node and what inspection found on it."""

    node: Node
    facts: Mapping[str, Evidence] = {}


class KnownNode(Value):
    """A node of a backend, and what is known of it."""

    backend: str
    profile: NodeProfile
