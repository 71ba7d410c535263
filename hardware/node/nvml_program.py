"""A program of its own: asks NVIDIA's driver about its GPUs, and prints one JSON document.

The driver's library is foreign code. A call that does not come back, or that crashes, ends this
program and not the platform, which runs it by ``nvml.py``. So it imports nothing of Longshore.
To standard error goes the name of each call before it is made.
"""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pynvml

CALL = "call "
USED = "used"
"""Argument: tell only how much of each GPU is in use, and by whom."""
_STATUS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_library",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver_not_loaded",
}
_PATHS = {
    pynvml.NVML_TOPOLOGY_INTERNAL: "same_board",
    pynvml.NVML_TOPOLOGY_SINGLE: "one_switch",
    pynvml.NVML_TOPOLOGY_MULTIPLE: "switches",
    pynvml.NVML_TOPOLOGY_HOSTBRIDGE: "host_bridge",
    pynvml.NVML_TOPOLOGY_NODE: "numa_node",
    pynvml.NVML_TOPOLOGY_SYSTEM: "system",
}
_ENDS = {
    pynvml.NVML_NVLINK_DEVICE_TYPE_GPU: "gpu",
    pynvml.NVML_NVLINK_DEVICE_TYPE_IBMNPU: "cpu",
    pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH: "switch",
}
_NO_SUCH_LINK = (pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_SUPPORTED)
_WORDS_OF_CPUS = 128
_WORDS_OF_NODES = 16
_WORD = 64

Call = Callable[..., Any]


class Unread(Exception):
    """A call failed; the text says which, and how."""

    def __init__(self, name: str, error: pynvml.NVMLError) -> None:
        super().__init__(f"{name}: {error}")
        self.code = error.value


def ask(call: Call, *arguments: Any) -> Any:
    """Call the library.

    Raises:
        Unread: it answers with an error.
    """
    name = call.__name__
    sys.stderr.write(f"{CALL}{name}\n")
    sys.stderr.flush()
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise Unread(name, error) from error


class Told:
    """What could be read, by name, and for the rest, why not."""

    def __init__(self, **known: Any) -> None:
        self.values: dict[str, Any] = known
        self.unread: dict[str, str] = {}

    def tell(self, name: str, read: Callable[[], Any]) -> None:
        """Read one."""
        self.tell_all({name: lambda value: value}, read)

    def tell_all(self, names: Mapping[str, Call], read: Callable[[], Any]) -> None:
        """Read several that one answer holds."""
        try:
            answer = read()
            values = {name: part(answer) for name, part in names.items()}
        except (Unread, ValueError) as error:
            self.unread |= dict.fromkeys(names, str(error))
            values = dict.fromkeys(names)
        except Exception as error:  # noqa: BLE001 - one odd answer must not cost all others
            why = f"an answer that is not understood: {type(error).__name__}: {error}"
            self.unread |= dict.fromkeys(names, why)
            values = dict.fromkeys(names)
        self.values |= values

    def document(self) -> dict[str, Any]:
        """Return all of it."""
        return {**self.values, "unread": self.unread}


def main() -> None:
    """Print what the driver tells: of everything, or with an argument, of what is used now."""
    document = _inspect(_used if sys.argv[1:] == [USED] else _machine)
    print(json.dumps(document))  # noqa: T201 - it is how this program answers


def _inspect(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        ask(pynvml.nvmlInit)
    except Unread as error:
        return {"status": _STATUS.get(error.code, "error"), "reason": str(error)}
    try:
        return look()
    except Unread as error:
        return {"status": "error", "reason": str(error)}
    finally:
        with contextlib.suppress(Unread):
            ask(pynvml.nvmlShutdown)


def _machine() -> dict[str, Any]:
    told = Told()
    told.tell("driver", lambda: ask(pynvml.nvmlSystemGetDriverVersion))
    told.tell("cuda", _cuda)
    count = ask(pynvml.nvmlDeviceGetCount)
    handles: dict[int, Any] = {}
    lost: dict[int, str] = {}
    for index in range(count):
        try:
            handles[index] = ask(pynvml.nvmlDeviceGetHandleByIndex, index)
        except Unread as error:
            lost[index] = str(error)
    gpus = [
        _gpu(index, handles) if index in handles else {"index": index, "lost": lost[index]}
        for index in range(count)
    ]
    status = "ok" if gpus else "no_devices"
    return {"status": status, "reason": "", "gpus": gpus, **told.document()}


def _used() -> dict[str, Any]:
    gpus, unread = [], []
    for index in range(ask(pynvml.nvmlDeviceGetCount)):
        try:
            gpu = ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            slices = _slices(gpu)
            gpus += [_use_of(device) for device in slices or [gpu]]
        except Unread as error:
            # Of the others something is known.
            unread.append(f"GPU {index}: {error}")
    return {"status": "ok", "reason": "; ".join(unread), "gpus": gpus}


def _use_of(device: Any) -> dict[str, Any]:
    told = Told(uuid=ask(pynvml.nvmlDeviceGetUUID, device))
    told.tell("used_mib", lambda: -(-ask(pynvml.nvmlDeviceGetMemoryInfo, device).used // 2**20))
    told.tell("processes", lambda: _processes(device))
    return told.document()


def _processes(device: Any) -> dict[int, int | None]:
    """Return how many MiB each process uses; one that is there twice, together."""
    found: dict[int, int | None] = {}
    for each in ask(pynvml.nvmlDeviceGetComputeRunningProcesses, device):
        used, before = each.usedGpuMemory, found.get(each.pid, 0)
        known = None if used is None or before is None else before + -(-used // 2**20)
        found[each.pid] = known
    return found


def _slices(gpu: Any) -> list[Any]:
    """Return the slices of a GPU; none where it is not sliced, or where the library knows none."""
    try:
        now, _ = ask(pynvml.nvmlDeviceGetMigMode, gpu)
    except Unread:
        return []
    return list(_devices_of(gpu)) if now else []


def _cuda() -> str:
    version: int = ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    return f"{version // 1000}.{version % 1000 // 10}"


def _gpu(index: int, handles: Mapping[int, Any]) -> dict[str, Any]:
    gpu, told = handles[index], Told(index=index)
    told.tell("uuid", lambda: ask(pynvml.nvmlDeviceGetUUID, gpu))
    told.tell("name", lambda: ask(pynvml.nvmlDeviceGetName, gpu))
    told.tell("pci", lambda: _address(ask(pynvml.nvmlDeviceGetPciInfo, gpu)))
    _memory(told, gpu)
    told.tell("compute_capability", lambda: _capability(gpu))
    told.tell("mig", lambda: _mig(gpu))
    told.tell("numa_node", lambda: _numa_node(gpu))
    told.tell("cpu_affinity", lambda: _cpus(gpu))
    told.tell("nvlinks", lambda: _nvlinks(gpu))
    told.tell("pcie", lambda: _pcie(gpu))
    told.tell("paths", lambda: _paths(index, handles))
    return told.document()


def _memory(told: Told, device: Any) -> None:
    names: dict[str, Call] = {
        "memory_total_mib": lambda memory: memory.total >> 20,
        "memory_free_mib": lambda memory: memory.free >> 20,
    }
    told.tell_all(names, lambda: ask(pynvml.nvmlDeviceGetMemoryInfo, device))


def _capability(gpu: Any) -> str:
    major, minor = ask(pynvml.nvmlDeviceGetCudaComputeCapability, gpu)
    return f"{major}.{minor}"


def _address(pci: Any) -> str:
    """Return a PCI address as the kernel writes it: four digits of domain, where NVML has eight."""
    # A text or bytes, as the release of nvidia-ml-py may be.
    told = pci.busId.decode() if isinstance(pci.busId, bytes) else pci.busId
    domain, _, rest = told.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def _mig(gpu: Any) -> dict[str, Any]:
    modes = {0: "disabled", 1: "enabled"}
    now, pending = ask(pynvml.nvmlDeviceGetMigMode, gpu)
    instances = [_instance(each) for each in _devices_of(gpu)] if now else []
    return {"mode": modes.get(now), "pending": modes.get(pending), "instances": instances}


def _devices_of(gpu: Any) -> Iterator[Any]:
    """Yield the slices of a GPU."""
    for index in range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu)):
        try:
            yield ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, index)
        except Unread as error:
            if error.code not in {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT}:
                raise


def _instance(device: Any) -> dict[str, Any]:
    told = Told()
    told.tell("uuid", lambda: ask(pynvml.nvmlDeviceGetUUID, device))
    told.tell("name", lambda: ask(pynvml.nvmlDeviceGetName, device))
    _memory(told, device)
    return told.document()


def _numa_node(gpu: Any) -> int:
    scope = pynvml.NVML_AFFINITY_SCOPE_NODE
    mask = ask(pynvml.nvmlDeviceGetMemoryAffinity, gpu, _WORDS_OF_NODES, scope)
    nodes = _bits(mask)
    if len(nodes) != 1:
        raise ValueError(f"nvmlDeviceGetMemoryAffinity: {len(nodes)} nodes are near")
    return nodes[0]


def _cpus(gpu: Any) -> list[int]:
    cpus = _bits(ask(pynvml.nvmlDeviceGetCpuAffinity, gpu, _WORDS_OF_CPUS))
    if not cpus:
        raise ValueError("nvmlDeviceGetCpuAffinity: no CPU is near")
    return cpus


def _bits(words: Iterable[int]) -> list[int]:
    return [
        _WORD * place + bit
        for place, word in enumerate(words)
        for bit in range(_WORD)
        if word >> bit & 1
    ]


def _nvlinks(gpu: Any) -> list[dict[str, Any]]:
    """Return with what the active links connect, and how many do."""
    # To each end, known by its kind and address, how many.
    ends: Counter[tuple[str, str | None]] = Counter()
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            active = ask(pynvml.nvmlDeviceGetNvLinkState, gpu, link)
        except Unread as error:
            if link and error.code in _NO_SUCH_LINK:
                break
            raise
        if active:
            ends[_end(gpu, link)] += 1
    return [{"to": kind, "pci": pci, "links": links} for (kind, pci), links in ends.items()]


def _end(gpu: Any, link: int) -> tuple[str, str | None]:
    kind, pci = "unknown", None
    try:
        kind = _ENDS.get(ask(pynvml.nvmlDeviceGetNvLinkRemoteDeviceType, gpu, link), kind)
        pci = _address(ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, gpu, link))
    except (Unread, ValueError):
        pass
    return kind, pci


def _pcie(gpu: Any) -> dict[str, Any]:
    told = Told()
    told.tell("generation", lambda: ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, gpu))
    told.tell("width", lambda: ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, gpu))
    return told.document()


def _paths(index: int, handles: Mapping[int, Any]) -> list[dict[str, Any]]:
    """Return what is between this GPU and each of the others, apart from NVLink."""
    return [
        {
            "to": other,
            "path": _PATHS.get(
                ask(pynvml.nvmlDeviceGetTopologyCommonAncestor, handles[index], handles[other])
            ),
        }
        for other in handles
        if other != index
    ]


if __name__ == "__main__":
    main()
