"""Unmodified nvidia-ml-py with a library of our own making: what it tells, and how it fails.

It shows that each answer and each failure becomes the right fact. It does not show that a real
driver answers so.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from parts import nvml_stub

from longshore.core.types import Confidence
from longshore.hardware.node import nvml_program
from longshore.hardware.node.gpus import gpu_facts
from longshore.hardware.node.nvml import Nvml, read_nvml

LONG = 60.0
"""Seconds that no program takes."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stub.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def bus(tmp_path: Path) -> Path:
    """A root of /sys with two GPUs, of which the kernel knows the first one's NUMA node."""
    devices = tmp_path / "sys/bus/pci/devices"
    for address, node, kind in (
        ("0000:17:00.0", "0", "0x030200"),
        ("0001:ca:00.0", "-1", "0x030200"),
        ("0000:18:00.0", "0", "0x068000"),
    ):
        device = devices / address
        device.mkdir(parents=True)
        told = {"vendor": "0x10de", "class": kind, "device": "0x2330", "numa_node": node}
        for name, value in told.items():
            (device / name).write_text(f"{value}\n")
    (devices / "0000:17:00.0" / "local_cpulist").write_text("0-15,32-47\n")
    return tmp_path / "sys"


def told_by(nvml: Nvml) -> Any:
    return [each.model_dump(mode="json") for each in nvml.gpus]


async def test_all_that_it_tells(
    library: Path, bus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, library, log=str(log))
    nvml = await read_nvml(LONG)
    assert (nvml.status, nvml.driver, nvml.cuda, nvml.unread) == ("ok", "580.65.06", "13.2", {})
    gpus: Any = gpu_facts(nvml, bus)["gpus"].value
    first, second = gpus
    assert first == {
        "index": 0,
        "uuid": "GPU-00000000-0000-0000-0000-000000000000",
        "name": "NVIDIA H100 80GB HBM3",
        "pci": "0000:17:00.0",
        "memory_total_mib": 81559,
        "memory_free_mib": 70000,
        "compute_capability": "9.0",
        "mig": {
            "mode": "enabled",
            "pending": "enabled",
            "instances": [
                {
                    "uuid": "MIG-00000000-0000-0000-0000-000000000001",
                    "name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
                    "memory_total_mib": 9856,
                    "memory_free_mib": 9000,
                    "unread": {},
                },
                {
                    "uuid": "MIG-00000000-0000-0000-0000-000000000002",
                    "name": "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
                    "memory_total_mib": 40320,
                    "memory_free_mib": 40000,
                    "unread": {},
                },
            ],
        },
        "numa_node": 0,
        "cpu_affinity": "0-15,32-47",
        "nvlinks": [{"to": "gpu", "pci": "0001:ca:00.0", "links": 2}],
        "pcie": {"generation": 5, "width": 16, "unread": {}},
        "paths": [{"to": 1, "path": "system"}],
        "lost": "",
        "unread": {},
    }
    # Of the second one, the kernel knows less than the driver.
    assert second["numa_node"] == 1
    assert second["cpu_affinity"] == "16-31,64"
    assert second["mig"] == {"mode": "disabled", "pending": "disabled", "instances": []}
    # Nothing free is a value, and no reason is given.
    assert second["memory_free_mib"] == 0
    assert second["unread"] == {}
    assert log.read_text().splitlines()[-1] == "nvmlShutdown"


async def test_what_is_not_supported_says_so(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = (
        "nvmlDeviceGetMemoryInfo=3 nvmlDeviceGetMigMode=3 nvmlDeviceGetNvLinkState=3 "
        "nvmlDeviceGetMemoryAffinity=3 nvmlDeviceGetMaxPcieLinkWidth=4 "
        "nvmlDeviceGetTopologyCommonAncestor=3 nvmlSystemGetCudaDriverVersion_v2=999"
    )
    nvml_stub.use(monkeypatch, library, fail=failing)
    nvml = await read_nvml(LONG)
    facts = gpu_facts(nvml, tmp_path)
    assert facts["cuda"].confidence is Confidence.UNKNOWN
    assert facts["cuda"].source == "nvmlSystemGetCudaDriverVersion_v2: Unknown Error"
    gpu = told_by(nvml)[1]
    unsupported = "memory_total_mib", "memory_free_mib", "mig", "nvlinks", "numa_node", "paths"
    assert set(gpu["unread"]) == set(unsupported)
    assert all(gpu[name] is None for name in unsupported)
    assert gpu["unread"]["memory_free_mib"] == "nvmlDeviceGetMemoryInfo: Not Supported"
    width = "nvmlDeviceGetMaxPcieLinkWidth: Insufficient Permissions"
    assert gpu["pcie"] == {"generation": 5, "width": None, "unread": {"width": width}}
    assert gpu["name"] == "NVIDIA H100 80GB HBM3"


def test_an_answer_that_nobody_expected_costs_no_other() -> None:
    def odd() -> str:
        raise TypeError("odd")

    told = nvml_program.Told()
    told.tell("name", odd)
    told.tell("uuid", lambda: "GPU-1")
    why = "an answer that is not understood: TypeError: odd"
    assert told.document() == {"name": None, "uuid": "GPU-1", "unread": {"name": why}}


async def test_an_older_library_lacks_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path, "MIG"))
    nvml = await read_nvml(LONG)
    assert nvml.status == "ok"
    assert nvml.gpus[0].unread == {"mig": "nvmlDeviceGetMigMode: Function Not Found"}


async def test_a_library_that_cannot_be_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path, "INIT"))
    nvml = await read_nvml(LONG)
    assert (nvml.status, nvml.reason) == ("error", "nvmlInit: Function Not Found")


@pytest.mark.parametrize(
    "case",
    [
        ({"fail": "nvmlInitWithFlags=9"}, "driver_not_loaded", "nvmlInit: Driver Not Loaded"),
        ({"fail": "nvmlInitWithFlags=999"}, "error", "nvmlInit: Unknown Error"),
        (
            {"fail": "nvmlInitWithFlags=18"},
            "error",
            "nvmlInit: RM has detected an NVML/RM version mismatch.",
        ),
        ({"fail": "nvmlInitWithFlags=77"}, "error", "nvmlInit: told by the library"),
        ({"fail": "nvmlDeviceGetCount_v2=999"}, "error", "nvmlDeviceGetCount: Unknown Error"),
        ({"count": "0"}, "no_devices", ""),
        ({"crash": "nvmlDeviceGetName"}, "error", "nvmlDeviceGetName crashed: SIGABRT"),
        ({"crash": "nvmlShutdown"}, "error", "nvmlShutdown crashed: SIGABRT"),
    ],
)
async def test_a_driver_that_does_not_tell(
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[Mapping[str, str], str, str],
) -> None:
    behaviour, status, reason = case
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, library, log=str(log), **behaviour)
    nvml = await read_nvml(LONG)
    assert (nvml.status, nvml.reason, nvml.gpus) == (status, reason, ())
    begun = behaviour.get("fail", "").partition("=")[0] != "nvmlInitWithFlags"
    crashed = behaviour.get("crash") == "nvmlDeviceGetName"
    assert ("nvmlShutdown" in log.read_text().splitlines()) is (begun and not crashed)


async def test_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bus: Path) -> None:
    # What is no library is found before one that the machine may have.
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    nvml_stub.use(monkeypatch, tmp_path)
    nvml = await read_nvml(LONG)
    assert nvml.status == "no_library"
    facts = gpu_facts(nvml, bus)
    # There are some, and nothing else is known of them: that is not "none".
    assert facts["gpus"].confidence is Confidence.UNKNOWN
    assert "on the PCI bus: 2 of NVIDIA's" in facts["gpus"].source
    assert facts["nvidia_pci"].value == [
        {"address": "0000:17:00.0", "device": "2330", "numa_node": 0},
        {"address": "0001:ca:00.0", "device": "2330", "numa_node": None},
    ]
    module = bus / "module/nvidia"
    module.mkdir(parents=True)
    (module / "version").write_text("580.65.06\n")
    assert gpu_facts(nvml, bus)["driver"].value == "580.65.06"


@pytest.mark.parametrize("status", ["no_library", "driver_not_loaded"])
def test_no_gpu_is_known_by_an_empty_bus(tmp_path: Path, status: Any) -> None:
    (tmp_path / "bus/pci/devices").mkdir(parents=True)
    gpus = gpu_facts(Nvml(status=status), tmp_path)["gpus"]
    assert (gpus.value, gpus.confidence) == ([], Confidence.INFERRED)


@pytest.mark.parametrize("status", ["no_library", "error"])
def test_no_bus_and_no_driver_mean_nothing(tmp_path: Path, status: Any) -> None:
    gpus = gpu_facts(Nvml(status=status, reason="why"), tmp_path)["gpus"]
    assert (gpus.value, gpus.confidence, gpus.source) == (None, Confidence.UNKNOWN, "NVML: why")


def test_a_driver_that_fails_is_believed_more_than_an_empty_bus(tmp_path: Path) -> None:
    # In a virtual machine, the bus may be another's.
    (tmp_path / "bus/pci/devices").mkdir(parents=True)
    gpus = gpu_facts(Nvml(status="error", reason="why"), tmp_path)["gpus"]
    assert (gpus.value, gpus.confidence) == (None, Confidence.UNKNOWN)


def test_no_device_by_the_driver_is_exact(tmp_path: Path) -> None:
    gpus = gpu_facts(Nvml(status="no_devices"), tmp_path)["gpus"]
    assert (gpus.value, gpus.confidence) == ([], Confidence.EXACT)


async def test_a_gpu_that_was_lost(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml_stub.use(monkeypatch, library, fail="nvmlDeviceGetHandleByIndex_v2=15")
    nvml = await read_nvml(LONG)
    assert nvml.status == "ok"
    assert [each.lost for each in nvml.gpus] == ["nvmlDeviceGetHandleByIndex: GPU is lost"] * 2


@pytest.mark.parametrize("hanging", ["nvmlInitWithFlags", "nvmlDeviceGetNvLinkState"])
async def test_a_call_that_hangs(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, library, hang=hanging, log=str(log))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    beating = asyncio.ensure_future(beat())
    started = time.monotonic()
    nvml = await read_nvml(8)
    assert time.monotonic() - started < LONG
    beating.cancel()
    assert nvml.status == "error"
    assert nvml.reason == f"{hanging.replace('WithFlags', '')} did not come back within 8 s"
    # The platform went on meanwhile, and the program that hung is gone.
    assert beats > 10
    assert log.read_text().splitlines()[-1] == hanging
    assert not _running(tmp_path)


async def test_whoever_gives_up_leaves_no_program(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, library, hang="nvmlInitWithFlags", log=str(log))
    reading = asyncio.ensure_future(read_nvml(LONG))
    deadline = time.monotonic() + LONG
    while not log.exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert _running(tmp_path)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not _running(tmp_path)


def _running(folder: Path) -> list[str]:
    """Return the programs that write to a folder's log."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = nvml_program.__file__.encode() in (process / "cmdline").read_bytes()
            if ours and f"STUB_LOG={folder}/".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found
