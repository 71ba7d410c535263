"""What a user asks for."""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from longshore.core.quantities import Cpu, Memory, mebibytes, millicores
from longshore.core.types.base import (
    Architecture,
    Capability,
    EnvName,
    LabelName,
    LabelValue,
    Port,
    UrlPath,
    Value,
)
from longshore.core.windows import WarmWindow


class Resources(Value):
    """What one replica may use. None means: as much as the node gives."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: int | None = Field(default=None, ge=0, le=64)
    """Whole GPUs; 0: none, whatever the image may use; what the image needs if left out."""
    gpu_memory: Memory | None = None
    """Memory that each GPU has at least."""

    @model_validator(mode="after")
    def _memory_of_a_gpu(self) -> Self:
        if self.gpu == 0 and self.gpu_memory:
            raise ValueError(
                f"gpu_memory ({self.gpu_memory}) is of each GPU, and gpu 0 asks for none"
            )
        return self

    @property
    def cpu_millicores(self) -> int | None:
        """The CPU limit in thousandths of a core."""
        return millicores(self.cpu) if self.cpu else None

    @property
    def memory_mib(self) -> int | None:
        """The memory limit in mebibytes."""
        return mebibytes(self.memory) if self.memory else None

    @property
    def gpu_memory_mib(self) -> int | None:
        """What each GPU has at least, in mebibytes."""
        return mebibytes(self.gpu_memory) if self.gpu_memory else None


class Scaling(Value):
    """How many replicas a version may have, and what one of them should carry."""

    min: int = Field(default=1, ge=0, le=1000)
    max: int = Field(default=1, ge=1, le=1000)
    target: int = Field(default=8, ge=1)
    """Requests in flight per replica that scaling aims at."""
    idle: float = Field(default=600, ge=0)
    """Seconds from the last answer after which a version with ``min`` 0 goes to sleep; 0: never.

    The next request wakes it. It counts from the first readiness at the earliest, and never while
    an answer, a stream or a WebSocket is under way.
    """
    warm: tuple[WarmWindow, ...] = Field(default=(), max_length=20)
    """When a version with ``min`` 0 is kept awake though nobody calls it:
    ``mon-fri 08:00-18:00 Europe/Zurich``."""

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is larger than max ({self.max})")
        if self.warm and self.min:
            raise ValueError(
                f"warm keeps awake what would sleep, which nothing does with min {self.min}: "
                "register it with min 0"
            )
        return self


class Limits(Value):
    """What one request, and one start, may take."""

    concurrency: int = Field(default=128, ge=1)
    """Most requests in flight on one replica; beyond it callers get 503 at once."""
    startup: float = Field(default=300, gt=0)
    """Seconds that a replica may take from its start to readiness."""
    connect: float = Field(default=2, gt=0)
    """Seconds to connect to a replica."""
    first_byte: float = Field(default=60, gt=0)
    """Seconds from the request's last byte to the answer's first."""
    total: float = Field(default=600, gt=0)
    """Seconds that the whole exchange may take."""


class Security(Value):
    """What a container may do beyond the strict default; each is a relaxation of its own."""

    run_as: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """User id to run as, instead of the image's; 0 is root."""
    capabilities: tuple[Capability, ...] = ()
    """Linux capabilities to keep (``NET_BIND_SERVICE``); all others are dropped."""
    privilege_escalation: bool = False
    """Let programs in the image gain rights that their parent lacks (setuid)."""
    seccomp_unconfined: bool = False
    """Let it use system calls that the engine's own profile refuses."""


class VersionSpec(Value):
    """What a data scientist registers. What is left out is found in the image or has a default."""

    image: str = Field(min_length=1, max_length=512)
    """Where the image is, as ``docker pull`` takes it: ``registry.example.com/team/iris:1``."""
    backend: str | None = None
    """Where to run it; the platform's default backend if left out."""
    contract: str | None = None
    """How to talk to the container; found out from the image if left out."""
    port: Port | None = None
    health_path: UrlPath | None = None
    predict_path: UrlPath | None = None
    command: tuple[str, ...] | None = None
    """Arguments instead of the image's own CMD."""
    env: Mapping[EnvName, str] = {}
    writable_root: bool = False
    """Let the container write to its root file system; otherwise tried read-only first."""
    resources: Resources = Resources()
    architecture: Architecture | None = None
    """Of the nodes that may run it, as images call it: ``amd64``; all that the image is built for
    if left out."""
    node_selector: Mapping[LabelName, LabelValue] = {}
    """Labels that the nodes which may run it have."""
    scaling: Scaling = Scaling()
    limits: Limits = Limits()
    security: Security = Security()
    retention: float | None = Field(default=None, ge=0)
    """Days without a call after which it is collected; 0: never. The platform's if left out."""
