"""What NVIDIA's driver tells, asked in a process of its own and within a time limit."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, JsonValue, ValidationError

from longshore.core.types import Value
from longshore.hardware.node import files

PROGRAM = Path(__file__).with_name("nvml_program.py")
_CALL = b"call "
"""How the program marks the calls that it is about to make."""
_MOST_SAID = 8192
_TO_DIE = 1.0
"""Seconds for a killed program to end; one that hangs in the kernel does not, and is left alone."""

Status = Literal["ok", "no_library", "driver_not_loaded", "no_devices", "error"]


def _listed(told: object) -> object:
    return files.listed(told) if isinstance(told, list) else told


Cpus = Annotated[str, BeforeValidator(_listed)]


class Memory(Value):
    """What of a device's memory could be read."""

    memory_total_mib: int | None = None
    memory_free_mib: int | None = None
    unread: Mapping[str, str] = {}
    """Why a field is None, by its name."""


class Instance(Memory):
    """A slice of a GPU, made by MIG."""

    uuid: str | None = None
    name: str | None = None


class Mig(Value):
    """Whether a GPU is sliced, and into what."""

    mode: Literal["enabled", "disabled"] | None
    pending: Literal["enabled", "disabled"] | None
    """The mode after the next reset."""
    instances: tuple[Instance, ...]


class NvLinks(Value):
    """Active NVLinks to one other device."""

    to: Literal["gpu", "cpu", "switch", "unknown"]
    pci: str | None
    links: int


class Pcie(Value):
    """The fastest PCIe link that a GPU and its slot can have."""

    generation: int | None
    width: int | None
    unread: Mapping[str, str] = {}


class PathTo(Value):
    """What is between two GPUs, apart from NVLink."""

    to: int
    """Index of the other one."""
    path: (
        Literal["same_board", "one_switch", "switches", "host_bridge", "numa_node", "system"] | None
    )


class Gpu(Memory):
    """A GPU."""

    index: int
    uuid: str | None = None
    name: str | None = None
    pci: str | None = None
    """Its address, as /sys writes it."""
    compute_capability: str | None = None
    mig: Mig | None = None
    numa_node: int | None = None
    cpu_affinity: Cpus | None = None
    """The CPUs that are near, as the kernel lists them."""
    nvlinks: tuple[NvLinks, ...] | None = None
    pcie: Pcie | None = None
    paths: tuple[PathTo, ...] | None = None
    lost: str = ""
    """Why nothing can be read of it; empty where something can."""


class Nvml(Value):
    """What the driver tells."""

    status: Status
    reason: str = ""
    """Why it is not ``ok``."""
    driver: str | None = None
    cuda: str | None = None
    """The newest version of CUDA that the driver can serve."""
    gpus: tuple[Gpu, ...] = ()
    unread: Mapping[str, str] = Field(default={})


class Use(Value):
    """How much of a GPU or a slice of one is in use."""

    uuid: str
    used_mib: int | None = None
    processes: Mapping[int, int | None] | None = None
    unread: Mapping[str, str] = {}


class Used(Value):
    """How much of all of them is."""

    status: Status
    reason: str = ""
    """Why it is not ``ok``, or why some are missing."""
    gpus: tuple[Use, ...] = ()


D = TypeVar("D", Nvml, Used)


async def read_nvml(seconds: float) -> Nvml:
    """Ask the driver. It always comes back, little later than in these seconds."""
    return await _ask(Nvml, seconds)


async def read_used(seconds: float) -> Used:
    """Ask the driver what is in use. It always comes back, little later than in these seconds."""
    return await _ask(Used, seconds, "used")


async def _ask(kind: type[D], seconds: float, *arguments: str) -> D:
    process = await asyncio.create_subprocess_exec(
        # Without its own folder on the path, whose modules have names of all sorts.
        *(sys.executable, "-P", str(PROGRAM), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said = bytearray()
    answer = asyncio.ensure_future(_all(process.stdout))
    remarks = asyncio.ensure_future(_newest(process.stderr, said))
    try:
        async with asyncio.timeout(seconds):
            document = await answer
            await remarks
            status = await process.wait()
    except TimeoutError:
        return _failed(kind, f"{_last_call(said)} did not come back within {seconds:g} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _TO_DIE)
        answer.cancel()
        remarks.cancel()
    if status < 0:
        return _failed(kind, f"{_last_call(said)} crashed: {signal.Signals(-status).name}")
    try:
        told: JsonValue = json.loads(document)
        return kind.model_validate(told)
    except (ValueError, ValidationError):
        last = bytes(said).decode(errors="replace").strip().rpartition("\n")[2]
        why = f"the program that asks the driver ended with status {status}: {last}"
        return _failed(kind, why)


def _failed(kind: type[D], why: str) -> D:
    return kind(status="error", reason=why)


def _last_call(said: bytearray) -> str:
    lines = [each for each in bytes(said).split(b"\n") if each.startswith(_CALL)]
    name = lines[-1].removeprefix(_CALL).decode(errors="replace") if lines else ""
    return name or "the program that asks the driver"


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream else b""


async def _newest(stream: asyncio.StreamReader | None, said: bytearray) -> None:
    while stream and (piece := await stream.read(_MOST_SAID)):
        said += piece
        del said[:-_MOST_SAID]
