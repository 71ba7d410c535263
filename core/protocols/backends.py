"""What runs containers: a backend, and what it may be able to do besides."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from longshore.core.names import VersionKey
from longshore.core.types import (
    Endpoint,
    Load,
    Node,
    NodeProfile,
    NodeReport,
    Version,
    Workload,
    WorkloadStatus,
)


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

    async def free_image(self, reference: str) -> bool:
        """Remove an image that Longshore had pulled; if it is not there, return silently.

        One that others have given a name (a tag) is theirs, and stays.

        Args:
            reference: ``repository@sha256:...``.

        Returns:
            False where a container has it still, so that it is worth to ask again.

        Raises:
            Unavailable: the engine does not answer.
        """
