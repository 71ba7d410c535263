"""What the route table has of each model: its versions, their replicas, and who gets a request."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING

from longshore.core.names import VersionKey
from longshore.core.protocols import Balancer
from longshore.core.routes import VersionRoute
from longshore.core.traffic import Standing, receiver
from longshore.core.types import Endpoint, State, TrafficRule
from longshore.router.meter import Meter
from longshore.router.traffic import Header, sticky_of

if TYPE_CHECKING:
    import asyncio

    from longshore.router.holding import Queue

_SETTLED = frozenset({State.ASLEEP, State.READY, State.FAILED, State.COLLECTED})
"""What was on its way from sleep to readiness is so no more."""


class Replica:
    """One replica and its requests in flight; lives on after it left the table until they end."""

    __slots__ = ("endpoint", "failed_at", "failures", "host", "in_flight", "out_until", "quiet")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.host = str(endpoint.address).encode()
        """Its address, as it stands in a Host header."""
        self.in_flight = 0
        self.failures = 0
        self.failed_at = self.out_until = 0.0
        self.quiet: asyncio.Event | None = None
        """Set when the last request ends; made by whoever waits for that."""

    def released(self) -> None:
        """Count one request less."""
        self.in_flight -= 1
        if not self.in_flight and self.quiet:
            self.quiet.set()


class RoutedVersion:
    """One version in the table: where its requests go, and what was observed of them."""

    __slots__ = (
        "balancer",
        "balancer_plugin",
        "complained_at",
        "deleted",
        "dozes",
        "label_line",
        "limits",
        "meter",
        "queue",
        "replicas",
        "request_line",
        "route",
        "shadow_meter",
    )

    def __init__(self, route: VersionRoute, balancer: Balancer | None, plugin: str) -> None:
        self.route = route
        self.replicas: tuple[Replica, ...] = ()
        self.balancer = balancer
        self.balancer_plugin = plugin
        self.complained_at = 0.0
        """When its balancer's failure was last logged."""
        self.meter = Meter()
        self.deleted = False
        """Whether it left the table; requests that found it there may still be at it."""
        self.dozes = False
        """Whether it sleeps, or is on its way from sleep to readiness."""
        self.queue: Queue | None = None
        """The requests that are held for it; None while there are none."""
        self.shadow_meter: Meter | None = None
        """Counts the copies that it got as a shadow, apart from what callers asked of it; None
        before the first. In flight, rate and the times of the last ones, by which the version is
        scaled, are counted in the other one as well."""
        # What every request needs of the version, which never changes.
        self.limits = route.version.spec.limits
        self.request_line = b"POST " + route.version.serving.predict_path.encode()
        """Begins a prediction request to its replicas."""
        self.label_line = b"x-longshore-version: %b\r\nx-request-id: " % (
            str(route.version.key).encode()
        )
        """Tells in an answer who gave it; goes on with the request's id."""

    @property
    def key(self) -> VersionKey:
        """Which version this is."""
        return self.route.version.key

    def take(self, route: VersionRoute) -> None:
        """Learn where its requests go from now on."""
        self.route = route
        if route.state in _SETTLED:
            self.dozes = route.state is State.ASLEEP

    @property
    def standing(self) -> Standing:
        """What it can do for requests that name no version."""
        # One that sleeps counts as ready, or the next older one would take over while it does.
        if self.replicas or self.dozes:
            return Standing.ANSWERS
        # What a request may bring back is as good as one that fails.
        if self.route.state is State.COLLECTED and not self.route.coming:
            return Standing.COLLECTED
        return Standing.FAILS


class RoutedModel:
    """The versions of one model, and the share of requests that each gets."""

    __slots__ = (
        "_bounds",
        "_percent",
        "_receiver",
        "_shadow",
        "_sticky",
        "_weighted",
        "name",
        "versions",
    )

    def __init__(self, name: str, rule: TrafficRule, versions: dict[str, RoutedVersion]) -> None:
        self.name = name
        self.versions = versions
        """By version, oldest first."""
        shares = [
            (version, weight, versions[version])
            for version, weight in rule.weights.items()
            if weight and version in versions
        ]
        self._weighted = [version for _, _, version in shares]
        self._bounds = list(accumulate(weight for _, weight, _ in shares))
        self._sticky = sticky_of(name, rule, shares)
        self._shadow = versions.get(rule.shadow.version) if rule.shadow else None
        self._percent = rule.shadow.percent if rule.shadow else 0
        # Each change of a version makes its model anew.
        self._receiver = receiver(rule, versions, attrgetter("standing"))

    @property
    def has_shadow(self) -> bool:
        """Whether some version gets copies of its requests."""
        return self._shadow is not None

    def choose(self, draw: Callable[[], float], header: Header) -> RoutedVersion:
        """Return the version for one request.

        Args:
            draw: gives a random number from 0 up to but not including 1.
            header: gives the request's headers, asked only where requests stick.
        """
        if self._sticky and (value := header(self._sticky.header)):
            return self._sticky.choose(value)
        if self._bounds:
            return self._weighted[bisect_right(self._bounds, draw() * self._bounds[-1])]
        return self._receiver

    def shares(self) -> Mapping[VersionKey, float]:
        """Return which share of the requests each version gets that gets any, as things are."""
        if not self._bounds:
            return {self._receiver.key: 1.0}
        weights = zip(self._bounds, [0, *self._bounds], strict=False)
        shares = (upper - lower for upper, lower in weights)
        pairs = zip(self._weighted, shares, strict=True)
        return {version.key: share / self._bounds[-1] for version, share in pairs}

    def shadow(self, primary: RoutedVersion, draw: Callable[[], float]) -> RoutedVersion | None:
        """Return the version that gets a copy of one request; None where none does.

        Args:
            primary: answers the request; it gets no copy of it.
            draw: gives a random number from 0 up to but not including 1.
        """
        if self._shadow is None or self._shadow is primary or draw() * 100 >= self._percent:
            return None
        return self._shadow
