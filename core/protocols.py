"""The small interfaces that plugins implement. Their docstrings are promises to both sides."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar, runtime_checkable

from pydantic import JsonValue

from longshore.core.lease import Lease
from longshore.core.names import VersionKey
from longshore.core.types import (
    Decision,
    Endpoint,
    Event,
    ImageProfile,
    Load,
    Model,
    Node,
    NodeProfile,
    NodeReport,
    Serving,
    TrafficRule,
    Version,
    VersionRecord,
    VersionSpec,
    VersionStatus,
    Wake,
    Wish,
    Workload,
    WorkloadStatus,
)


class Registry(Protocol):
    """Longshore's memory: the only truth about what should run.

    Every method is one transaction: killed at any moment, it happened or it did not. Each may raise
    ``Unavailable`` while the database does not answer, and may then be called again.
    """

    async def open(self) -> None:
        """Make the database ready for this release, upgrading an older one.

        Raises:
            StartRefused: the database was made by a newer release.
        """

    async def close(self) -> None:
        """Let go of all connections; calling it twice is silence."""

    async def installation(self) -> str:
        """Return the id of this installation, made once per database and never changed.

        Backends label what they start with it, and touch nothing that carries another.
        """

    async def add_version(self, version: Version, decisions: Sequence[Decision]) -> bool:
        """Store a version, its model if that is new, its placement and its decisions.

        Returns:
            True if it was stored now; False if the same content was there already, in which case
            nothing changes. Of two at once with different content, one wins.

        Raises:
            Conflict: the number is taken by other content.
        """

    async def delete_version(self, key: VersionKey) -> bool:
        """Forget a version, and its model with the last of them; decisions go, events stay.

        Returns:
            Whether there was one.
        """

    async def model(self, name: str) -> Model:
        """Return a model with its versions.

        Raises:
            NotFound: there is none of that name; with the nearest names.
        """

    async def models(self) -> Sequence[Model]:
        """Return all models with their versions, by name."""

    async def version(self, key: VersionKey) -> VersionRecord:
        """Return one version.

        Raises:
            NotFound: there is none; with the nearest names.
        """

    async def set_traffic(self, name: str, rule: TrafficRule) -> None:
        """Replace a model's traffic rule.

        Raises:
            NotFound: there is no such model, or the rule names a version that it does not have.
        """

    async def set_wish(
        self, key: VersionKey, wish: Wish, reason: str, at: datetime | None = None
    ) -> None:
        """Say what should become of a version; waking a sleeping one opens a line in the ledger.

        Args:
            key: the version.
            wish: what should become of it.
            reason: why, one sentence.
            at: when it was asked for; now if left out.

        Raises:
            NotFound: there is no such version.
        """

    async def save_status(
        self, statuses: Mapping[VersionKey, VersionStatus], *, epoch: int | None = None
    ) -> None:
        """Write what the controller found; versions that are gone meanwhile are passed over.

        A status of state ``ready`` closes the version's open wakes.

        Args:
            statuses: by version.
            epoch: that of the writer's lease; None for a writer that needs none.

        Raises:
            Deposed: the lease has another epoch by now; nothing was written.
        """

    async def save_loads(self, loads: Sequence[Load]) -> None:
        """Keep the newest load of each version; versions that are gone are passed over.

        Where one does not know when the last request or answer was, what was saved of it stays: a
        router knows only of those since its start.
        """

    async def loads(self) -> Mapping[VersionKey, Load]:
        """Return the load that was last saved of each version."""

    async def add_decisions(self, key: VersionKey, decisions: Sequence[Decision]) -> None:
        """Keep decisions about a version; the oldest beyond the newest 200 may be dropped."""

    async def decisions(self, key: VersionKey) -> Sequence[Decision]:
        """Return what was decided about a version, oldest first."""

    async def add_events(self, events: Sequence[Event]) -> None:
        """Keep events; the oldest beyond the newest 10,000 may be dropped."""

    async def events(self, key: VersionKey | None = None, limit: int = 100) -> Sequence[Event]:
        """Return the newest events, oldest of them first."""

    async def last_wakes(self) -> Mapping[VersionKey, datetime]:
        """Return when each version that was ever woken was woken last."""

    async def set_pinned(self, key: VersionKey, *, pinned: bool) -> None:
        """Say whether a version may be collected.

        Raises:
            NotFound: there is no such version.
        """

    async def wakes(self, key: VersionKey, limit: int = 100) -> Sequence[Wake]:
        """Return the newest wakes of a version, oldest of them first."""

    async def wake_times(
        self, since: datetime | None = None, limit: int = 100
    ) -> Mapping[VersionKey, Mapping[datetime, float]]:
        """Return how many seconds wakes took until readiness, by when each was asked for.

        Args:
            since: only those that came to readiness since then.
            limit: how many of each version; the newest, oldest of them first.
        """

    async def take_lease(
        self, name: str, holder: str, *, address: str, seconds: float, force: bool = False
    ) -> Lease:
        """Take a lease that is free, or renew one's own, for so many seconds from now.

        Args:
            name: the lease's.
            holder: id of the process that asks.
            address: ``host:port`` where it answers; empty if it does not yet.
            seconds: for how long, by the database's clock.
            force: take it from whoever has it, who is known to be gone.

        Returns:
            The lease as it is now, which may be another's.
        """

    async def release_lease(self, name: str, holder: str) -> None:
        """Let others have a lease at once; if it is another's, return silently."""

    async def lease(self, name: str) -> Lease:
        """Return a lease as it is now, whoever has it."""

    async def revision(self) -> int:
        """Return a number that grows with each change of what routers read.

        That is: which models and versions there are, traffic rules, wishes, and of the statuses
        the state, the reason and the hint. It costs next to nothing to ask.
        """

    async def save_wake(self, wake: Wake) -> None:
        """Write what became of a wake, known by its version and by when it was asked for.

        If there is none, because the version is gone, return silently.
        """


@runtime_checkable
class RemembersCalls(Protocol):
    """A registry that remembers when versions were called; it is a ``Registry`` besides.

    Without it, nobody's calls are expected. Each method may raise ``Unavailable``.
    """

    async def add_calls(self, slots: Mapping[VersionKey, datetime], since: datetime) -> None:
        """Remember slots of time in which versions were called; known ones are passed over.

        Args:
            slots: when the slot of each version began; versions that are gone are passed over.
            since: what is older may be forgotten.
        """

    async def calls(self, since: datetime) -> Mapping[VersionKey, Sequence[datetime]]:
        """Return when the slots began in which each version was called since then, oldest first."""


class Backend(Protocol):
    """Somewhere to run containers. All methods are idempotent and may be called after a crash.

    Each may raise ``Unavailable`` while the engine does not answer; the controller tries again.
    """

    @property
    def name(self) -> str:
        """What ``[longshore] backend`` and a version's ``backend`` call it."""

    async def open(self, installation: str) -> None:
        """Connect, and from now on own what is labelled with this installation's id.

        Raises:
            StartRefused: nothing to connect to was found; the hint says how to get one.
        """

    async def close(self, *, stop_workloads: bool) -> None:
        """Let go of the engine; with ``stop_workloads`` remove everything of ours first."""

    def describe(self) -> str:
        """Return a few words for people: ``"podman 4.3.1 at /run/podman/podman.sock"``."""

    async def apply(self, workload: Workload) -> None:
        """Make it so that exactly this many replicas of exactly this workload run.

        Replicas that exited or are of another fingerprint are replaced; those that run as wished
        are left alone. Returns once the engine has taken the wish, which may take as long as an
        image pull; readiness and exits show in ``list``. The controller never calls it twice at
        once for one key, and may cancel it.

        Raises:
            WorkloadFailed: it cannot run, and why, in the engine's words.
        """

    async def delete(self, key: VersionKey) -> None:
        """Stop and remove everything of this version; if there is nothing, return silently."""

    async def list(self) -> Sequence[WorkloadStatus]:
        """Return everything of this installation that the backend has, ready or not.

        While ``apply`` is at work on a key, its status carries the progress.
        """

    def watch(self) -> AsyncIterator[None]:
        """Yield whenever something may have changed; the controller then calls ``list``.

        Hints may be missed or repeated. It ends only when closed, and survives an engine that is
        away.
        """

    def logs(self, key: VersionKey, *, tail: int = 100, follow: bool = False) -> AsyncIterator[str]:
        """Yield log lines of all replicas without their line ends, oldest first.

        Args:
            key: the version.
            tail: how many lines of the past per replica.
            follow: go on with new lines until the caller stops.

        Raises:
            NotFound: there is no replica, running or exited.
        """

    async def nodes(self) -> Sequence[Node]:
        """Return the machines that this backend can place replicas on."""


@runtime_checkable
class ReadsLoads(Protocol):
    """A backend whose own autoscaler goes by what routers observe; it is a ``Backend`` besides."""

    def read_loads(self, read: Callable[[], Sequence[Load]]) -> None:
        """Learn where to ask for the loads; called once, before anything is applied."""


@runtime_checkable
class ReadsNodes(Protocol):
    """A backend that gives out what is on its nodes; it is a ``Backend`` besides."""

    def read_nodes(self, profile: Callable[[Node], Awaitable[NodeProfile]]) -> None:
        """Learn whom to ask what plugins know of a node; called before anything is applied."""


@runtime_checkable
class TakesNodeReports(Protocol):
    """A backend to which inspection on a node can tell what it found; it is a ``Backend`` besides.

    Its ``nodes`` pass it on. Of its other methods who reports calls ``close`` alone.
    """

    async def open_to_report(self) -> None:
        """Get ready as ``Backend.open`` does, with the fewest rights that will do; ask nothing."""

    async def report(self, node: str, report: NodeReport) -> None:
        """Keep what was found on a node, instead of what was told before.

        Raises:
            StartRefused: nothing to connect to was found; the hint says how to get one.
            Unavailable: the engine does not answer, or does not take it.
        """


@runtime_checkable
class ReadsEndpoints(Protocol):
    """A backend that can tell a router where replicas are, and do nothing else.

    It is a ``Backend`` besides; of its other methods a router calls ``watch`` and ``close`` alone.
    """

    async def open_to_read(self, installation: str) -> None:
        """Connect as ``Backend.open`` does, with the fewest rights that will do; start nothing.

        Raises:
            StartRefused: nothing to connect to was found; the hint says how to get one.
        """

    async def endpoints(
        self, versions: Sequence[Version]
    ) -> Mapping[VersionKey, tuple[Endpoint, ...]]:
        """Return the replicas of these versions that are ready for requests, oldest first.

        Raises:
            Unavailable: the engine does not answer, and what it told last is all that is known.
        """


@runtime_checkable
class ActsByItself(Protocol):
    """A backend that starts or stops something between calls; it is a ``Backend`` besides."""

    def act_only_while(self, leads: Callable[[], bool]) -> None:
        """Learn whom to ask whether this process leads; called once, before anything is applied.

        While it does not, the backend does nothing of itself: another process does.
        """


@runtime_checkable
class KeepsAsleep(Protocol):
    """A backend that can keep what makes a version's next wake faster; it is a ``Backend`` besides.

    What it keeps answers nothing. ``list`` tells of it as ``kept``, and never as a replica; the
    next ``apply`` may go on with it, and ``delete`` removes it.
    """

    async def rest(self, key: VersionKey) -> None:
        """Let nothing of this version run, as ``delete`` does, until the next ``apply``.

        If there is nothing, return silently.
        """


@runtime_checkable
class GetsReady(Protocol):
    """A backend that prepares for versions which may be woken; it is a ``Backend`` besides."""

    def expect(self, workloads: Sequence[Workload]) -> None:
        """Learn of all versions that may run, those asleep included; how many replicas is not said.

        Told again and again by whoever leads, each time instead of what was told before. It
        returns at once, and what it leads to never makes a version fail.
        """


@runtime_checkable
class FreesImages(Protocol):
    """A backend that keeps images and can let go of one; it is a ``Backend`` besides."""

    async def free_image(self, reference: str) -> None:
        """Remove an image; if it is not there, or something else needs it, return silently.

        Args:
            reference: ``repository@sha256:...``.

        Raises:
            Unavailable: the engine does not answer.
        """


class Candidate(Protocol):
    """A replica that has a free slot, as the router shows it to a balancer."""

    @property
    def endpoint(self) -> Endpoint:
        """The replica."""

    @property
    def in_flight(self) -> int:
        """How many requests this router has on it now."""


C = TypeVar("C", bound=Candidate)


class Balancer(Protocol):
    """Chooses a replica for each request to one version; called on the request path."""

    def pick(self, candidates: Sequence[C]) -> C:
        """Return one of the candidates, which are never empty. It must not block."""


class Contract(Protocol):
    """One way in which containers expect to be probed and called."""

    @property
    def name(self) -> str:
        """What ``--contract`` calls it."""

    def detect(self, spec: VersionSpec, image: ImageProfile) -> Serving | None:
        """Return how to serve this image if it looks like this contract, with the evidence.

        What the spec declares (port, paths) always wins over what the image says. If the spec
        names this contract, the answer must not be None.
        """

    def encode(self, features: JsonValue) -> tuple[bytes, str]:
        """Turn the platform's uniform features into a request body and its content type.

        Raises:
            InvalidInput: this contract cannot carry these features.
        """

    def decode(self, body: bytes, content_type: str) -> JsonValue:
        """Turn the container's answer into the predictions of the uniform answer.

        Raises:
            ValueError: it is not what the contract promises.
        """
