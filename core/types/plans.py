"""What was decided of a version: its hardware, its place, how it is served, and why."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from longshore.core.names import VersionKey
from longshore.core.types.base import Port, UrlPath, Value, utc_now
from longshore.core.types.images import Confidence, Image
from longshore.core.types.specs import VersionSpec


class Verdict(Value):
    """What one hardware rule said."""

    rule: str
    outcome: Literal["pass", "fail", "unknown"]
    """A version of which one fails is refused, unless its user insists."""
    evidence: str
    hint: str = ""
    """What to do where it fails."""


class Requirement(Value):
    """What a node's label must be, in the words of Kubernetes."""

    label: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()
    """``Gt`` and ``Lt`` compare with one, an integer."""


class Toleration(Value):
    """A taint of nodes that does not keep replicas away."""

    key: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class GpuCode(Value):
    """For which GPUs one package of an image has code."""

    owner: str
    sass: tuple[str, ...] = ()
    """Machine code: ``86`` runs on compute capability 8.6 and 8.9, ``90a`` on 9.0 alone."""
    ptx: tuple[str, ...] = ()
    """What drivers compile: ``80`` for 8.0 and all that are newer."""


class HardwarePlan(Value):
    """Which hardware a version gets."""

    target: Literal["cpu", "gpu"] = "cpu"
    architectures: tuple[str, ...] = ()
    """Of the nodes that the image can run on; empty where that is not known."""
    cpu_level: int = 1
    """Of x86-64 that the image is built for at least: 3 for ``amd64/v3``."""
    gpu_count: int = 0
    gpu_mem_floor_mib: int | None = None
    """What each GPU must have at least; None where nothing tells."""
    gpu_mem_estimate_mib: int | None = None
    """What it will use of each, by what is in the image; None where nothing tells."""
    gpu_mem_measured_mib: int | None = None
    """The most that it was seen to use of one; None until it ran."""
    gpu_mem_takes_all: str = ""
    """The software that takes a share of any GPU, however much it needs; empty if there is none."""
    gpu_code: tuple[GpuCode, ...] = ()
    """Empty where it is not known for sure."""
    min_driver: int | None = None
    """The oldest driver that will do, by its major version; None where it is not known for sure."""
    cpu_millicores: int | None = None
    memory_mib: int | None = None
    memory_estimate_mib: int | None = None
    """What a replica will use at least, by what is in the image; None where nothing tells."""
    memory_measured_mib: int | None = None
    """The most that a replica was seen to use; None until one ran."""
    threads: int | None = None
    """That each worker process should start; None where there is no CPU limit."""
    env: Mapping[str, str] = {}
    affinity: tuple[tuple[Requirement, ...], ...] = ()
    """A node must meet all requirements of one of these; where there are none, any will do."""
    preferred: tuple[Requirement, ...] = ()
    """Nodes that meet these are better, the more so the more of them."""
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = {}
    """Labels that a node must have, as the user wished."""
    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[str, ...] = ()


class Serving(Value):
    """How to talk to a version's containers, after detection; nothing is open any more."""

    contract: str
    port: Port
    health_path: UrlPath
    health_required: bool
    """False: a server that answers 404 on the health path counts as healthy (it has none)."""
    predict_path: UrlPath
    why: str
    """The evidence, one sentence."""
    confidence: Confidence


class RankedNode(Value):
    """A node that fits, and how well: the weighted sum of all scores."""

    name: str
    score: float


class Placement(Value):
    """Where a workload may and should run, with which resources and environment."""

    backend: str
    nodes: tuple[RankedNode, ...]
    """Best first."""
    plan: HardwarePlan


class Version(Value):
    """One immutable version of a model, complete."""

    key: VersionKey
    spec: VersionSpec
    image: Image
    serving: Serving
    placement: Placement
    created_at: datetime

    @property
    def content(self) -> str:
        """A digest over what the user asked for and the image it meant; equal means the same.

        The tag is left out: two tags that name the same bytes are the same content.
        """
        asked = self.spec.model_copy(update={"image": self.image.pinned})
        # Sorted, for the order in which somebody names the variables of env means nothing.
        text = json.dumps(asked.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Decision(Value):
    """One outcome of one hook: what, by which plugin, from which inputs, and why."""

    hook: str
    """Where no hook was asked, what it was about: ``wish``, ``pin``."""
    plugin: str
    """``core`` where no plugin decided, ``user`` where somebody asked for it."""
    outcome: JsonValue
    inputs: Mapping[str, JsonValue] = {}
    why: str = ""
    at: datetime = Field(default_factory=utc_now)


class ScaleWish(Value):
    """How many replicas a version should have, and why."""

    replicas: int = Field(ge=0)
    why: str
