"""The values that travel between the rooms. All are frozen; none does any work.

Times are aware datetimes in UTC, durations seconds, CPU millicores, memory mebibytes.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from longshore.core.names import ModelName, StickyHeader, VersionKey, VersionName
from longshore.core.quantities import Cpu, Memory, mebibytes, millicores
from longshore.core.windows import WarmWindow

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


# --- What a user asks for -------------------------------------------------------------------


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


# --- What was found out, and what was decided ------------------------------------------------


class Confidence(StrEnum):
    """How sure a fact is."""

    EXACT = "exact"
    DECLARED = "declared"
    INFERRED = "inferred"
    UNKNOWN = "unknown"


class Evidence(Value):
    """One fact, where it was read, and how sure it is."""

    value: JsonValue
    source: str
    confidence: Confidence


class ImageConfig(Value):
    """The parts of an OCI image configuration that Longshore reads."""

    architecture: str = ""
    os: str = ""
    env: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tcp_ports: tuple[Port, ...] = ()
    """Exposed TCP ports, lowest first."""


class Image(Value):
    """An image as a registry holds it, found by what the user wrote."""

    reference: str
    """As the user wrote it."""
    repository: str
    """Registry host and path, complete: ``docker.io/library/python``."""
    digest: Digest
    """Digest of the manifest or index that the reference named at that moment."""
    platforms: tuple[str, ...] = ()
    """``os/architecture[/variant]`` of each image behind the digest."""
    size_bytes: int = 0
    """Compressed size of the layers for this machine's platform."""
    config: ImageConfig = ImageConfig()

    @property
    def pinned(self) -> str:
        """The reference that always names these very bytes."""
        return f"{self.repository}@{self.digest}"


class ImageProfile(Value):
    """What inspection found in an image."""

    image: Image
    facts: Mapping[str, Evidence] = {}


class NodeReport(Value):
    """What inspection on a node itself told of it a while ago, as its backend passes it on."""

    facts: Mapping[str, Evidence]
    """Of others: whoever goes by them checks them first."""
    read_at: datetime
    lasts: float
    """Seconds from then on within which there should be a newer one."""


class Node(Value):
    """A machine that can run containers, as its backend describes it."""

    name: str
    architecture: str
    """As images call it: ``amd64``, ``arm64``."""
    cpu_millicores: int
    memory_mib: int
    gpus: int = 0
    labels: Mapping[str, str] = {}
    images: tuple[str, ...] = ()
    """Names of those that it has already; empty where that is not known."""
    report: NodeReport | None = Field(default=None, exclude=True, repr=False)
    """Where inspection runs on it; what becomes of it stands in the node's profile."""


class NodeProfile(Value):
    """A node and what inspection found on it."""

    node: Node
    facts: Mapping[str, Evidence] = {}


class KnownNode(Value):
    """A node of a backend, and what is known of it."""

    backend: str
    profile: NodeProfile


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
    plugin: str
    outcome: JsonValue
    inputs: Mapping[str, JsonValue] = {}
    why: str = ""
    at: datetime = Field(default_factory=utc_now)


class ScaleWish(Value):
    """How many replicas a version should have, and why."""

    replicas: int = Field(ge=0)
    why: str


# --- What runs --------------------------------------------------------------------------------


class Workload(Value):
    """What a backend is asked to run for one version."""

    key: VersionKey
    image: str
    """Pinned by digest."""
    replicas: int = Field(ge=0)
    port: Port
    health_path: UrlPath
    health_required: bool
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    writable_root: bool = False
    cpu_millicores: int | None = None
    memory_mib: int | None = None
    gpu_count: int = 0
    gpu_mem_floor_mib: int | None = None
    """What each GPU must have at least."""
    affinity: tuple[tuple[Requirement, ...], ...] = ()
    """Labels of the nodes it may run on, as in ``HardwarePlan``."""
    preferred: tuple[Requirement, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = {}
    nodes: tuple[str, ...] = ()
    """Names of the nodes it may run on, best first."""
    startup: float = 300
    """Seconds that a replica may take to become ready."""
    security: Security = Security()
    image_user: str = ""
    """Whom the image says to run as; a number, a name, or nothing, which means root."""
    scaling: Scaling = Scaling()
    """The bounds within which a backend's own autoscaler may set the number of replicas."""
    retire: tuple[str, ...] = ()
    """Ids of replicas that get no requests any more; if some are too many, these go first."""

    @property
    def fingerprint(self) -> str:
        """A digest over what makes replicas alike; replicas of another one are outdated.

        A field that a later release adds counts only where it says something.
        """
        content = self.model_dump_json(
            exclude={"replicas", "scaling", "retire"}, exclude_defaults=True
        )
        return hashlib.sha256(content.encode()).hexdigest()[:16]


class ReplicaState(StrEnum):
    """Where a replica is in its life."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    """It was ready, and its health check fails now."""
    EXITED = "exited"


class Address(Value):
    """Where a replica listens."""

    host: str
    port: Port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Replica(Value):
    """One running container of a workload."""

    id: str
    state: ReplicaState
    address: Address | None = None
    reason: str = ""
    """Why it is in this state, one sentence; empty while all is well."""
    hopeless: bool = False
    """True: it cannot become ready as things are (it listens on another port)."""
    hint: str = ""
    """What to do about it, where the backend knows more than what the log says."""
    exit_code: int | None = None
    log_tail: tuple[str, ...] = ()
    """The last lines it wrote, oldest first; given where it exited or is hopeless."""
    node: str = ""
    scheduled_at: datetime | None = None
    """When a node was found for it, where the backend tells."""
    image_at: datetime | None = None
    """When its image was there, where the backend tells."""
    started_at: datetime | None = None


class Progress(Value):
    """How far a backend has come with something that takes long."""

    what: str
    done: int = 0
    total: int = 0
    """In the unit of ``done``; 0 where it is not known."""


class WorkloadStatus(Value):
    """What a backend has for one version."""

    key: VersionKey
    fingerprint: str
    replicas: tuple[Replica, ...] = ()
    progress: Progress | None = None
    autoscaled: bool = False
    """Whether an autoscaler of the backend sets the number of replicas, and nobody else may."""
    problem: str = ""
    """Why there are not as many replicas as wished, one sentence: a quota, a refusal."""
    hint: str = ""
    """What to do about the problem."""
    note: str = ""
    """What is worth knowing though all is well, one sentence."""
    kept: int = 0
    """How many containers are kept while it sleeps, for its next wake; they are no replicas."""


class Endpoint(Value):
    """A replica that is ready for requests."""

    replica: str
    address: Address


class HoldsSeen(Value):
    """What routers held of a version's requests during its last wake."""

    since: datetime
    """When the first of them came."""
    held: int
    longest: float
    """Seconds that one was held at most, of those that are so no more."""
    first_byte_at: datetime | None = None
    """When the first of their answers began."""
    lost: int = 0
    """How many went with the router that held them."""


class Load(Value):
    """What routers observed of one version."""

    key: VersionKey
    in_flight: int = 0
    held: int = 0
    """Requests that wait until it has a replica for them."""
    holds: HoldsSeen | None = None
    """What was held during its last wake; None where nothing was since routers know it."""
    rate: float = 0.0
    """Requests a second, over the last minute."""
    recent: float | None = None
    """Requests in flight and held, averaged over the last 3 seconds; None where only the moment is
    known."""
    average: float | None = None
    """The same over the last minute."""
    last_request_at: datetime | None = None
    last_answer_at: datetime | None = None


# --- What SQL tells ---------------------------------------------------------------------------


class Wish(StrEnum):
    """What the platform should do with a version; only users and policies write it."""

    RUN = "run"
    SLEEP = "sleep"
    COLLECT = "collect"
    """Sleep, and give its image's place on the nodes free."""


class State(StrEnum):
    """What the controller found a version to be."""

    PENDING = "pending"
    PULLING = "pulling"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    ASLEEP = "asleep"
    COLLECTED = "collected"


class VersionStatus(Value):
    """What the controller last found; it writes this and nothing of the wish."""

    state: State = State.PENDING
    reason: str = ""
    """Why it is not ready, one sentence; empty where there is nothing to say."""
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    exit_code: int | None = None
    replicas: int = 0
    ready: int = 0
    progress: Progress | None = None
    failures: int = 0
    """How many starts failed in a row."""
    retry_at: datetime | None = None
    """When the next start is tried."""
    served: bool = False
    """Whether it was ready since it was last woken."""
    since: datetime = Field(default_factory=utc_now)
    """Since when it is in this state."""


class VersionRecord(Value):
    """A version with what is wished of it and what became of that."""

    version: Version
    wish: Wish = Wish.RUN
    pinned: bool = False
    """It is never collected."""
    status: VersionStatus = VersionStatus()


class Shadow(Value):
    """A version that gets copies of a model's requests, and whose answers nobody gets."""

    version: VersionName
    percent: float = Field(default=100, gt=0, le=100)
    """Which share of the requests is copied, drawn at random."""


class TrafficRule(Value):
    """Which version gets a request that names none, and whether another gets a copy of it."""

    weights: Mapping[VersionName, Annotated[int, Field(ge=0, le=1_000_000)]] = {}
    """Which share of the requests each version gets.

    Without weights, the version that was registered last and is ready or asleep gets them all; one
    that is the shadow is passed over.
    """
    sticky: StickyHeader | None = None
    """Name of a header: requests with the same value of it get the same version.

    It holds as long as the weights stand; when they change, few callers move. A request without
    the header is drawn at random.
    """
    shadow: Shadow | None = None
    """Gets copies of the requests that other versions answer."""

    @model_validator(mode="after")
    def _somebody_gets_traffic(self) -> Self:
        if self.weights and not any(self.weights.values()):
            raise ValueError("all weights are 0, so that no version would get a request")
        return self


class Model(Value):
    """A name, with its versions and its traffic rule."""

    name: ModelName
    traffic: TrafficRule = TrafficRule()
    created_at: datetime
    versions: tuple[VersionRecord, ...] = ()
    """Oldest first."""


class Event(Value):
    """Something that happened to a version and that somebody may want to know."""

    kind: Literal[
        "registered",
        "deleted",
        "wished",
        "started",
        "ready",
        "failed",
        "unready",
        "stopped",
        "collected",
    ]
    key: VersionKey
    message: str
    at: datetime = Field(default_factory=utc_now)


class Wake(Value):
    """One awakening of a sleeping version, as the wake ledger keeps it."""

    key: VersionKey
    asked_at: datetime
    """When the request that woke it came, or the user asked."""
    applied_at: datetime | None = None
    """When a backend was asked to start it; until then it was Longshore's own time."""
    scheduled_at: datetime | None = None
    """When a node was found for it, where the backend tells."""
    image_at: datetime | None = None
    """When its image was there, where the backend tells."""
    started_at: datetime | None = None
    """When its first container started."""
    ready_at: datetime | None = None
    first_byte_at: datetime | None = None
    """When the first of the requests that were held began to be answered."""
    held: int = 0
    """How many requests were held."""
    longest_hold: float = 0
    """Seconds that one was held at most."""
    lost: int = 0
    """How many of those that were held went with a router that died."""
    reason: str = ""


class Identity(Value):
    """Who is calling."""

    name: str
    how: str
    """How it was recognised: ``"bearer key"``."""
    remember: float = Field(default=0, ge=0)
    """Seconds for which whoever sends the same ``Authorization`` header may be taken for the same
    caller; 0: plugins are asked for every request, which is slower. Set it only where no other
    header matters, and no longer than a key that was withdrawn may still be good for.
    """
