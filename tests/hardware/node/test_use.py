"""How much of GPUs is in use, by a library of our own making; and how that fails."""

import asyncio
import time
from pathlib import Path

import pytest
from parts import nvml_stub

from longshore.core.measures import GpuUses
from longshore.hardware.node.nvml import read_used
from longshore.hardware.node.plugin import Plugin
from longshore.hardware.node.settings import NodesSettings

SECOND = "GPU-11111111-1111-1111-1111-111111111111"
LOST = "NVML: " + "; ".join(
    f"GPU {number}: nvmlDeviceGetHandleByIndex: GPU is lost" for number in (0, 1)
)
SLICES = [f"MIG-00000000-0000-0000-0000-00000000000{number}" for number in (1, 2)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stub.build(tmp_path_factory.mktemp("nvml"))


async def uses() -> GpuUses:
    return await Plugin(NodesSettings(driver_seconds=60)).longshore_measure_gpus()


async def test_processes_are_told_of_whole_gpus_and_of_slices(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = f"GPU-1=7:2048 GPU-1=8:- GPU-1=7:2 {SLICES[1]}=9:100"
    nvml_stub.use(monkeypatch, library, runs=runs)
    found = await uses()
    assert found.unread == ""
    by_id = {each.uuid: each for each in found.gpus}
    # The first GPU is sliced, so its slices are what containers get.
    assert list(by_id) == [*SLICES, SECOND]
    assert by_id[SECOND].processes == {7: 2050, 8: None}
    assert by_id[SECOND].used_mib == 81559
    assert by_id[SLICES[0]].processes == {}
    assert by_id[SLICES[1]].processes == {9: 100}
    assert by_id[SLICES[1]].used_mib == 320


async def test_what_a_driver_does_not_tell_of_processes_has_a_reason(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_stub.use(monkeypatch, library, fail="nvmlDeviceGetComputeRunningProcesses_v3=3")
    for each in (await uses()).gpus:
        assert each.processes is None
        assert each.used_mib is not None
        assert each.unread == "nvmlDeviceGetComputeRunningProcesses: Not Supported"


async def test_a_library_without_slices_tells_of_whole_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path, "MIG"))
    assert [each.uuid for each in (await uses()).gpus][1:] == [SECOND]


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ({"fail": "nvmlInitWithFlags=9"}, "NVML: nvmlInit: Driver Not Loaded"),
        ({"crash": "nvmlDeviceGetUUID"}, "NVML: nvmlDeviceGetUUID crashed: SIGABRT"),
        ({"fail": "nvmlDeviceGetHandleByIndex_v2=15"}, LOST),
        ({"fail": "nvmlDeviceGetUUID=15"}, LOST.replace("HandleByIndex", "UUID")),
    ],
)
async def test_a_driver_that_fails_is_told_with_its_reason(
    library: Path, monkeypatch: pytest.MonkeyPatch, behaviour: dict[str, str], why: str
) -> None:
    nvml_stub.use(monkeypatch, library, **behaviour)
    found = await uses()
    assert (found.gpus, found.unread) == ((), why)


async def test_a_driver_that_hangs_holds_nobody_and_is_not_asked_all_the_time(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, library, hang="nvmlDeviceGetCount_v2", log=str(log))
    plugin = Plugin(NodesSettings(driver_seconds=8))
    async with asyncio.timeout(60):
        found = await plugin.longshore_measure_gpus()
    assert found.unread == "NVML: nvmlDeviceGetCount did not come back within 8 s"
    asked, began = log.read_text(), time.monotonic()
    assert await plugin.longshore_measure_gpus() == found
    assert log.read_text() == asked
    assert time.monotonic() - began < 8
    assert (await read_used(0.001)).status == "error"
