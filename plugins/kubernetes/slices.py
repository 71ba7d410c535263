"""What EndpointSlices say: which pods are ready for requests, and where. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from longshore.core.types import Address
from longshore.plugins.kubernetes.kinds import Json


@dataclass(frozen=True, slots=True)
class Located:
    """A pod that is ready for requests."""

    uid: str
    name: str
    address: Address


def located(slices: Iterable[Json]) -> list[Located]:
    """Return the pods that are ready and not on their way out, each once."""
    found: dict[str, Located] = {}
    for each in slices:
        port = next((port["port"] for port in each.get("ports") or ()), None)
        for endpoint in each.get("endpoints") or ():
            conditions, pod = endpoint.get("conditions") or {}, endpoint.get("targetRef") or {}
            # Left out means that it is so.
            ready = conditions.get("ready", True) and not conditions.get("terminating", False)
            if ready and port and pod.get("uid") and endpoint.get("addresses"):
                address = Address(host=endpoint["addresses"][0], port=port)
                found.setdefault(pod["uid"], Located(pod["uid"], pod.get("name", ""), address))
    return list(found.values())
