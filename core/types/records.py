"""What SQL tells: wishes, status, traffic, and what happened."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from longshore.core.names import ModelName, StickyHeader, VersionKey, VersionName
from longshore.core.types.base import Value, utc_now
from longshore.core.types.plans import Version
from longshore.core.types.running import Progress


class Wish(StrEnum):
    """What the platform should do with a version; only users and policies write it."""

    RUN = "run"
    SLEEP = "sleep"
    COLLECT = "collect"
    """Sleep, and give its image's place on the nodes free."""


class ImageFate(StrEnum):
    """What becomes of a collected version's image in the registry that it came from."""

    STAYS = "stays"
    GOES = "goes"
    """It is deleted there, too, once every version that has it is collected and lets it go."""
    DELETED = "deleted"


class Collected(Value):
    """That a version was collected: when, why, and on which understanding."""

    at: datetime
    why: str
    """One sentence."""
    image: ImageFate = ImageFate.STAYS

    @property
    def comes_back(self) -> bool:
        """Whether its image is still where it is pulled from, as far as Longshore knows."""
        return self.image is not ImageFate.DELETED


class LeftImage(Value):
    """An image that a version had which was deleted, and that may still be on its backend."""

    backend: str
    reference: str
    """``repository@sha256:...``."""

    @property
    def digest(self) -> str:
        """By which it is known whether another version has it."""
        return self.reference.rpartition("@")[2]


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
    collected: Collected | None = None
    """None where it is not, or an earlier release did it, which left no word."""
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
        "scaled",
        "stopped",
        "collected",
        "image-deleted",
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
    ended_at: datetime | None = None
    """When it came to an end without readiness: it failed, or was broken off. Of ``ready_at`` and
    this at most one is set."""
    failed: bool = False
    """Whether a start failed; otherwise what ended was broken off, as it was to sleep again."""
    why_ended: str = ""
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
