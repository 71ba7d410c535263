"""What remembers: the registry, the only truth about what should run."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from longshore.core.lease import Lease
from longshore.core.names import VersionKey
from longshore.core.types import (
    Collected,
    Decision,
    Event,
    LeftImage,
    Load,
    Model,
    TrafficRule,
    Version,
    VersionRecord,
    VersionStatus,
    Wake,
    Wish,
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
        """Say what should become of a version.

        Waking a sleeping one opens a line in the ledger, and letting one sleep that is being woken
        ends its line as broken off, for that reason.

        Args:
            key: the version.
            wish: what should become of it.
            reason: why, one sentence.
            at: when a wake was asked for; now if left out. It is never before the end of the
                version's last one.

        Raises:
            NotFound: there is no such version.
        """

    async def collect(self, key: VersionKey, collected: Collected) -> None:
        """Wish that a version be collected, and keep why; any other wish takes both away.

        Raises:
            NotFound: there is no such version.
        """

    async def keep_collected(self, collected: Mapping[VersionKey, Collected]) -> None:
        """Overwrite what is kept of collected versions; those that are so no more are passed over.

        Args:
            collected: by version.
        """

    async def left_images(self) -> Sequence[LeftImage]:
        """Return the images of versions that were deleted, until each is forgotten."""

    async def forget_image(self, image: LeftImage) -> None:
        """Forget an image that a deleted version left; if it is forgotten, return silently."""

    async def save_status(
        self, statuses: Mapping[VersionKey, VersionStatus], *, epoch: int | None = None
    ) -> None:
        """Write what the controller found; versions that are gone meanwhile are passed over.

        A status of state ``ready`` or ``failed`` ends the version's open wake, unless it failed
        before that was asked for.

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

    async def open_wakes(self) -> Mapping[VersionKey, Wake]:
        """Return the wakes that are neither ready nor ended: of each version the newest, or none.

        It costs next to nothing to ask.
        """

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

    async def save_wakes(self, wakes: Sequence[Wake]) -> None:
        """Write how far wakes have come, each known by its version and by when it was asked for.

        What ended one is not written here, and one that ended is not made ready. Those whose
        version is gone are passed over.
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
