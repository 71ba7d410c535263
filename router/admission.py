"""Admission: a request takes a slot on a replica, and gives it back when it is over.

A replica has as many slots as its version's ``limits.concurrency``. Nothing waits here: where no
slot is free, the caller hears so at once. Whether it may wait for one is told in ``holding``.
"""

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from longshore.core.hooks import blame
from longshore.router import ejection
from longshore.router.errors import Busy, NotReady

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from longshore.router.holding import Held
    from longshore.router.routed import Replica, RoutedVersion
    from longshore.router.table import Table

log = logging.getLogger(__name__)

COMPLAIN_EVERY = 60.0
"""Seconds between log lines about one version's failing balancer."""


class Slot:
    """A request's place on a replica; use it as a context manager, or call ``begin`` and ``end``.

    Args:
        table: where the version is.
        version: where the request goes.
        in_turn: whether it was held and its turn has come; otherwise those come first who are.
        well: take no replica that has just failed, even if there is no other.

    Raises:
        NotReady: the version has no replica.
        Busy: no replica has a free slot.
    """

    __slots__ = ("_rests", "_tried", "held", "replica", "table", "version")

    def __init__(
        self,
        table: "Table",
        version: "RoutedVersion",
        *,
        in_turn: bool = False,
        well: bool = False,
    ) -> None:
        self.table = table
        self._tried: list[Replica] = []
        self._rests = False
        self.version = version
        self.held: Held | None = None
        """Its place in the queue, if it was held."""
        self.replica = reserve(version, table.clock(), in_turn=in_turn, well=well)

    def begin(self) -> None:
        """Count the request as in flight."""
        self.version.meter.in_flight += 1

    def end(self) -> None:
        """Give the slot back."""
        if not self._rests:
            self.rest()
        self.version.meter.last_answer = self.table.clock()

    def rest(self) -> None:
        """Give the slot back for now: the replica cannot be reached, and nothing was sent."""
        self._rests = True
        version = self.version
        self.replica.released()
        version.meter.in_flight -= 1
        if version.queue:
            version.queue.freed()

    def go_on(self, other: "Slot") -> None:
        """Take the place of another slot, after a rest."""
        self._rests = False
        self._tried.clear()
        self.replica, self.held = other.replica, other.held
        self.begin()

    def give_back(self) -> None:
        """Give the slot back where no request ever began."""
        self.replica.released()
        if self.version.queue:
            self.version.queue.freed()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def failed(self) -> None:
        """Note that the replica failed, so that it is left alone for a moment."""
        now, replica, version = self.table.clock(), self.replica, self.version
        if ejection.failed(replica, now) and len(version.replicas) > 1:
            version.meter.ejections += 1
            log.warning(
                "replica %s of %s failed, and gets no request for %g s while others can",
                replica.endpoint.replica,
                version.key,
                replica.out_until - now,
            )

    def move(self) -> bool:
        """Go to a replica that was not tried yet; return False, and stay, where there is none.

        The one that it leaves counts as failed.
        """
        self.failed()
        self._tried.append(self.replica)
        try:
            other = reserve(self.version, self.table.clock(), self._tried, in_turn=True)
        except (NotReady, Busy):
            return False
        self.replica.released()
        self.replica = other
        return True


def reserve(
    version: "RoutedVersion",
    now: float,
    tried: "Collection[Replica]" = (),
    *,
    in_turn: bool = False,
    well: bool = False,
) -> "Replica":
    """Take a slot on a replica, and return it; it has to be told when it is ``released``.

    Args:
        version: where the request goes.
        now: seconds since the epoch.
        tried: replicas that will not do.
        in_turn: whether it goes before those who are held.
        well: take no replica that has just failed, even if there is no other.

    Raises:
        NotReady: the version has no replica.
        Busy: no replica has a free slot.
    """
    replicas, limit = version.replicas, version.limits.concurrency
    if version.queue and replicas and not in_turn:
        raise Busy(version.key, len(replicas), limit)
    if len(replicas) == 1 and not tried and not well and replicas[0].in_flight < limit:
        # As most versions have it: there is nothing to choose.
        replica = replicas[0]
    elif replicas:
        free = [each for each in replicas if each.in_flight < limit and each not in tried]
        if not free:
            raise Busy(version.key, len(replicas), limit)
        healthy = [each for each in free if not ejection.is_out(each, now)]
        if well and not healthy:
            free = [each for each in free if not ejection.has_just_failed(each, now)]
            if not free:
                raise Busy(version.key, len(replicas), limit)
        replica = pick(version, healthy or free, now)
    else:
        raise NotReady(version.route, now)
    replica.in_flight += 1
    return replica


def pick(version: "RoutedVersion", free: "Sequence[Replica]", now: float) -> "Replica":
    """Let the version's balancer choose; least in flight where it has none or it fails."""
    if version.balancer:
        try:
            picked = version.balancer.pick(free)
            if any(picked is each for each in free):
                return picked
            raise ValueError("it picked something that was not among the candidates")
        except Exception as error:
            if now - version.complained_at > COMPLAIN_EVERY:
                version.complained_at = now
                doing = f"pick a replica of {version.key}"
                told = blame(version.balancer_plugin, "longshore_balancer", error, doing)
                log.exception("%s; the one with the fewest requests is taken instead", told)
    return min(free, key=lambda each: each.in_flight)
