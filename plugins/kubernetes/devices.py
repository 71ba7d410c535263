"""Which GPUs a cluster's nodes have, as NVIDIA's driver publishes them in ResourceSlices. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from longshore.core.types import Confidence, Evidence
from longshore.plugins.kubernetes.claims import CAPABILITY, DRIVER, MEMORY, VERSION
from longshore.plugins.kubernetes.kinds import Json
from longshore.plugins.kubernetes.nodes import quantity

if TYPE_CHECKING:
    from pydantic import JsonValue

WHOLE = "gpu"
"""The type of a whole GPU; slices of one (MIG) are of another class."""

_MIB = 2**20
_UNTOLD = "ResourceSlices do not tell"
_FIELDS = (
    *("index", "uuid", "name", "pci", "memory_total_mib", "memory_free_mib"),
    *("compute_capability", "mig", "numa_node", "cpu_affinity", "nvlinks", "pcie", "paths"),
)


def gpus_by_node(slices: Iterable[Json]) -> dict[str, list[Json]]:
    """Return the whole GPUs of each node, as devices; of each pool only what is newest counts."""
    ours = [each["spec"] for each in slices if each["spec"].get("driver") == DRIVER]
    newest: defaultdict[str, int] = defaultdict(int)
    for spec in ours:
        pool = spec["pool"]
        newest[pool["name"]] = max(newest[pool["name"]], pool.get("generation", 0))
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for spec in ours:
        pool = spec["pool"]
        node = spec.get("nodeName")
        if node and pool.get("generation", 0) == newest[pool["name"]]:
            found[node] += [each for each in spec.get("devices") or () if _is_whole(each)]
    return dict(found)


def device_facts(devices: Sequence[Json]) -> dict[str, Evidence]:
    """Return what a node's GPUs tell of it, as facts of its profile."""
    source = f"ResourceSlices of {DRIVER}"
    gpus: list[JsonValue] = [_gpu(index, each) for index, each in enumerate(devices)]
    facts = {"gpus": Evidence(value=gpus, source=source, confidence=Confidence.EXACT)}
    drivers = [text for each in devices if (text := _text(each, VERSION))]
    if drivers:
        facts["driver"] = Evidence(value=drivers[0], source=source, confidence=Confidence.EXACT)
    return facts


def _gpu(index: int, device: Json) -> dict[str, "JsonValue"]:
    memory = _told(device, "capacity", MEMORY).get("value")
    capability = _text(device, CAPABILITY)
    told: Mapping[str, JsonValue] = {
        "index": index,
        "uuid": _text(device, "uuid"),
        "name": _text(device, "productName"),
        "memory_total_mib": int(quantity(memory) / _MIB) if memory else None,
        "compute_capability": ".".join(capability.split(".")[:2]) if capability else None,
    }
    gpu: dict[str, JsonValue] = {name: told.get(name) for name in _FIELDS}
    unread: dict[str, JsonValue] = {name: _UNTOLD for name, value in gpu.items() if value is None}
    return {**gpu, "lost": "", "unread": unread}


def _is_whole(device: Json) -> bool:
    return _text(device, "type") == WHOLE


def _text(device: Json, attribute: str) -> str | None:
    told = _told(device, "attributes", attribute)
    return told.get("string") or told.get("version")


def _told(device: Json, what: str, name: str) -> Json:
    """Return an attribute or a capacity, whose name may be told with its domain or without."""
    told: Json = device.get(what) or {}
    return told.get(name) or told.get(f"{DRIVER}/{name}") or {}
