"""The GPUs of this machine: what the driver tells, completed by what the kernel knows."""

from pathlib import Path
from typing import TYPE_CHECKING

from longshore.core.types import Evidence
from longshore.hardware.node import files
from longshore.hardware.node.facts import Unread, exact, inferred, read, unknown
from longshore.hardware.node.nvml import Gpu, Nvml
from longshore.hardware.node.pci import local_cpus, numa_node, nvidia_pci

if TYPE_CHECKING:
    from pydantic import JsonValue

_NOT_THERE = ("no_library", "driver_not_loaded")


def gpu_facts(nvml: Nvml, sys: Path) -> dict[str, Evidence]:
    """Return the facts.

    Args:
        nvml: what the driver tells.
        sys: root of /sys.
    """
    on_bus = read(lambda: nvidia_pci(sys))
    why = f"NVML: {nvml.reason or nvml.status}"
    return {
        "nvml_status": exact(nvml.status, nvml.reason or "nvmlInit, nvmlDeviceGetCount"),
        "driver": read(lambda: _driver(nvml, sys, why)),
        "cuda": _cuda(nvml, why),
        "gpus": _gpus(nvml, on_bus, sys, why),
        "nvidia_pci": on_bus,
    }


def _driver(nvml: Nvml, sys: Path, why: str) -> Evidence:
    if nvml.driver:
        return exact(nvml.driver, "nvmlSystemGetDriverVersion")
    module = sys / "module/nvidia/version"
    try:
        return exact(files.text(module), str(module))
    except Unread as error:
        raise Unread(f"{nvml.unread.get('driver', why)}; {error.why}") from error


def _cuda(nvml: Nvml, why: str) -> Evidence:
    if nvml.cuda:
        return exact(nvml.cuda, "nvmlSystemGetCudaDriverVersion_v2")
    return unknown(nvml.unread.get("cuda", why))


def _gpus(nvml: Nvml, on_bus: Evidence, sys: Path, why: str) -> Evidence:
    if nvml.status in {"ok", "no_devices"}:
        found: list[JsonValue] = [_placed(each, sys).model_dump(mode="json") for each in nvml.gpus]
        return exact(found, "NVML; NUMA nodes and CPUs: PCI devices in /sys, then NVML")
    if nvml.status in _NOT_THERE and on_bus.value == []:
        return inferred([], f"no NVIDIA device on the PCI bus, and {why}")
    match on_bus.value:
        case [_, *_] as devices:
            return unknown(f"{why}; on the PCI bus: {len(devices)} of NVIDIA's")
    return unknown(why)


def _placed(gpu: Gpu, sys: Path) -> Gpu:
    """Return a GPU with its place on the machine, which the kernel knows best."""
    if gpu.pci is None:
        return gpu
    known = {"numa_node": numa_node(sys, gpu.pci), "cpu_affinity": local_cpus(sys, gpu.pci)}
    found = {name: value for name, value in known.items() if value is not None}
    unread = {name: why for name, why in gpu.unread.items() if name not in found}
    return gpu.model_copy(update={**found, "unread": unread})
