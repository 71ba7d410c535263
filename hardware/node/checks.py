"""What a fact about a node must look like that comes from elsewhere, before anybody goes by it."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from longshore.core.types import Architecture
from longshore.hardware.node import files
from longshore.hardware.node.nvml import Gpu, Status

if TYPE_CHECKING:
    from pydantic import JsonValue

MOST_GPUS = 64
MOST_NUMBER = 1 << 40
"""More mebibytes, CPUs or links than any machine has."""
MOST_TEXT = 1024
_SHORT = 300


def _cpus(text: str) -> str:
    files.parse(text)
    return text


_Text = Annotated[str, StringConstraints(min_length=1, max_length=_SHORT)]
_Release = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,4}$")]
_Cpus = Annotated[str, StringConstraints(max_length=_SHORT), AfterValidator(_cpus)]
_Number = Annotated[int, Field(ge=0, le=MOST_NUMBER)]
_Count = Annotated[int, Field(ge=1, le=1 << 16)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Numa(_Strict):
    node: Annotated[int, Field(ge=0, lt=1 << 16)]
    cpus: _Cpus | None
    memory_mib: _Number | None
    distances: Annotated[list[_Number], Field(max_length=1 << 10)] | None
    unread: dict[str, str]


class _OnTheBus(_Strict):
    address: _Text
    device: _Text
    numa_node: _Number | None


class _Gpu(Gpu):
    cpu_affinity: _Cpus | None = None


_KINDS: Mapping[str, Any] = {
    "nvml_status": Status,
    "driver": _Release,
    "cuda": _Release,
    "gpus": Annotated[list[_Gpu], Field(max_length=MOST_GPUS)],
    "nvidia_pci": Annotated[list[_OnTheBus], Field(max_length=1 << 10)],
    "cpu_architecture": Architecture,
    "cpu_model": _Text,
    "cpu_level": Annotated[str, StringConstraints(pattern=r"^v[1-4]$")],
    "cpu_flags": Annotated[list[_Text], Field(max_length=1 << 10)],
    "cpu_physical": _Count,
    "cpu_logical": _Count,
    "numa": Annotated[list[_Numa], Field(max_length=1 << 10)],
    "memory_mib": Annotated[_Number, Field(ge=1)],
}
_CHECKS = {name: TypeAdapter[Any](kind) for name, kind in _KINDS.items()}


def fault_of(name: str, value: "JsonValue") -> str:
    """Return what is wrong with the value of a fact; empty where nothing is.

    Of facts that other plugins tell, only the size of their parts is bounded.
    """
    for part in _parts(value):
        if isinstance(part, str) and len(part) > MOST_TEXT:
            return f"a text of {len(part)} characters"
        if isinstance(part, float | int) and not -MOST_NUMBER <= part <= MOST_NUMBER:
            # Infinity, and what is no number, among them.
            return "a number beyond all bounds"
    check = _CHECKS.get(name)
    if check is None:
        return ""
    try:
        # As JSON, of which a list may become a tuple, and a text never a number.
        check.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(each)[:_SHORT] for each in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return ""


def _parts(value: "JsonValue") -> Iterator["JsonValue"]:
    """Yield a value and all that is in it, names among them."""
    left = [value]
    while left:
        each = left.pop()
        yield each
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
