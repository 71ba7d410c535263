"""What all values share, and the narrow kinds of text in them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=1024)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=256)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Capability = Annotated[str, StringConstraints(pattern=r"^(BPF|[A-Z][A-Z0-9_]{3,39})$")]
Architecture = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,31}$")]
LabelName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?"
        r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
    ),
]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
]


def utc_now() -> datetime:
    """Return the time of day, aware of its zone."""
    return datetime.now(UTC)


class Value(BaseModel):
    """A frozen value; a field that it does not know is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
