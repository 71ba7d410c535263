"""The small interfaces that plugins implement. Their docstrings are promises to both sides."""

from longshore.core.protocols.backends import (
    ActsByItself,
    Backend,
    FreesImages,
    GetsReady,
    KeepsAsleep,
    ReadsEndpoints,
    ReadsLoads,
    ReadsNodes,
    TakesNodeReports,
)
from longshore.core.protocols.registry import Registry, RemembersCalls
from longshore.core.protocols.requests import Balancer, C, Candidate, Contract

__all__ = [
    "ActsByItself",
    "Backend",
    "Balancer",
    "C",
    "Candidate",
    "Contract",
    "FreesImages",
    "GetsReady",
    "KeepsAsleep",
    "ReadsEndpoints",
    "ReadsLoads",
    "ReadsNodes",
    "Registry",
    "RemembersCalls",
    "TakesNodeReports",
]
