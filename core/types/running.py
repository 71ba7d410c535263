"""What runs, or is to run, as backends and routers see it."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from longshore.core.names import VersionKey
from longshore.core.types.base import Port, UrlPath, Value
from longshore.core.types.plans import Requirement, Toleration
from longshore.core.types.specs import Scaling, Security


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
    autoscaled_to: int | None = None
    """How many replicas an autoscaler of the backend wants; nobody else may say so then."""
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
    until: datetime | None = None
    """When none was left; None while some are held."""
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
    turned_away_at: datetime | None = None
    """When a request that found no replica was last refused because too much is held already."""
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
