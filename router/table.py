"""The route table: from a model's name to the replicas that can answer, all in memory.

The controller updates it model by model; requests only read it. What a request does with the
version that it found here is told in ``admission``.
"""

import asyncio
import contextlib
import difflib
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from longshore.core.errors import LongshoreError, NotFound
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey, check_model_name, check_version_name
from longshore.core.routes import ModelRoute, VersionRoute
from longshore.core.types import Endpoint, Load
from longshore.router.holding import Holding, HoldLimits
from longshore.router.routed import Replica, RoutedModel, RoutedVersion
from longshore.router.traffic import Header, no_headers

log = logging.getLogger(__name__)

MOST_NAMES_COMPARED = 500
"""A wrong name is compared with at most so many, so that a flood of them stays cheap."""

DEFAULT_HOLD = HoldLimits()

_FEW = 3
"""Letters that a typing error may add or leave out."""


class Table:
    """The router's side of ``core.routes.RouteTable``.

    Args:
        hooks: asked once for each version's balancer.
        clock: seconds since the epoch; another one in tests.
        draw: a random number from 0 up to but not including 1; another one in tests.
        replica: makes what counts a replica's requests; another one in workers.
        hold: how much may wait for versions that are on their way.
    """

    def __init__(
        self,
        hooks: Hooks,
        *,
        clock: Callable[[], float] = time.time,
        # Sharing traffic needs no secrecy.
        draw: Callable[[], float] = random.random,
        replica: Callable[[Endpoint], Replica] = Replica,
        hold: HoldLimits = DEFAULT_HOLD,
    ) -> None:
        self.clock = clock
        self._draw = draw
        self._new_replica = replica
        self._hooks = hooks
        self._models: dict[str, RoutedModel] = {}
        self._replicas: dict[str, Replica] = {}
        self._leaving: dict[str, Replica] = {}
        """Replicas that left the table with requests in flight."""
        self._changing = asyncio.Lock()
        self.holding = Holding(self, hold)
        """The requests that wait."""
        self.on_held: Callable[[VersionKey], None] = _nobody_asks
        """Called, and often, while requests wait for a version that has no replica."""

    # --- asked by requests --------------------------------------------------------------------

    def version(self, name: str, version: str) -> RoutedVersion:
        """Return one version.

        Raises:
            NotFound: there is none; with the nearest names.
        """
        model = self._models.get(name) or self._model(name)
        found = model.versions.get(version)
        if found is None:
            _check(check_version_name, version)
            raise NotFound(
                f"model {name} has no version {version!r}",
                nearest=[f"{name}:{each}" for each in nearest(version, model.versions)]
                or [f"{name}:{next(reversed(model.versions))}"],
                hint=f"Its versions: longshore show {name}",
            )
        return found

    def choose(self, name: str, header: Header = no_headers) -> RoutedVersion:
        """Return the version that a model's traffic rule picks for one request.

        Args:
            name: the model's.
            header: gives the request's headers, by which it may stick to a version.

        Raises:
            NotFound: there is no such model; with the nearest names.
        """
        return (self._models.get(name) or self._model(name)).choose(self._draw, header)

    def has_shadow(self, name: str) -> bool:
        """Return whether requests to a model may have to be copied; False for an unknown one."""
        model = self._models.get(name)
        return model is not None and model.has_shadow

    def shadow(self, primary: RoutedVersion) -> RoutedVersion | None:
        """Return the version that gets a copy of a request which ``choose`` gave a version.

        Args:
            primary: that version.
        """
        model = self._models.get(primary.key.name)
        return model.shadow(primary, self._draw) if model else None

    def versions(self) -> Iterator[RoutedVersion]:
        """Yield all versions."""
        for model in self._models.values():
            yield from model.versions.values()

    def shares(self) -> Mapping[VersionKey, float]:
        """Return which share of its model's requests each version gets that gets any."""
        models = self._models.values()
        return {key: share for model in models for key, share in model.shares().items()}

    def _model(self, name: str) -> RoutedModel:
        model = self._models.get(name)
        if model is None:
            _check(check_model_name, name)
            raise NotFound(
                f"there is no model {name!r}",
                nearest=nearest(name, self._models),
                hint="List the models: longshore models",
            )
        return model

    # --- told by the controller ---------------------------------------------------------------

    async def update(self, route: ModelRoute) -> None:
        """Put a model into the table, or replace it; requests in flight are not touched."""
        async with self._changing:
            before = self._models.get(route.name)
            known = before.versions if before else {}
            versions = {
                each.version.key.version: await self._routed(each, known) for each in route.versions
            }
            # From here to the end nothing waits, so that requests see all of it or nothing.
            for each in route.versions:
                versions[each.version.key.version].take(each)
            self._place(known.values(), versions.values())
            if versions:
                self._models[route.name] = RoutedModel(route.name, route.traffic, versions)
            else:
                self._models.pop(route.name, None)
            self._let_go(known.values(), versions.values())

    async def remove(self, name: str) -> None:
        """Take a model out of the table; if there is none, return silently."""
        async with self._changing:
            model = self._models.pop(name, None)
            if model:
                self._place(model.versions.values(), ())
                self._let_go(model.versions.values(), ())

    async def drain(self, replicas: Collection[str], within: float) -> bool:
        """Wait until no request is in flight on these replicas, at most ``within`` seconds.

        Returns:
            Whether all of them are quiet.
        """
        known = (self._replicas.get(each) or self._leaving.get(each) for each in replicas)
        busy = [each for each in known if each and each.in_flight]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for replica in busy:
                    while replica.in_flight:
                        if replica.quiet is None or replica.quiet.is_set():
                            replica.quiet = asyncio.Event()
                        await replica.quiet.wait()
        return not any(replica.in_flight for replica in busy)

    def loads(self) -> Sequence[Load]:
        """Return what was observed of each version in the table since it came."""
        now = self.clock()
        return [each.meter.load(each.key, now) for each in self.versions()]

    def load(self, key: VersionKey) -> Load:
        """Return what was observed of one version; zeros where nothing was."""
        model = self._models.get(key.name)
        version = model.versions.get(key.version) if model else None
        return version.meter.load(key, self.clock()) if version else Load(key=key)

    async def _routed(self, route: VersionRoute, known: dict[str, RoutedVersion]) -> RoutedVersion:
        version = route.version
        same = known.get(version.key.version)
        # A number that was deleted and registered anew is another version.
        if same and same.route.version.created_at == version.created_at:
            return same
        try:
            answer = await self._hooks.first("longshore_balancer", version=version)
        except LongshoreError as error:
            # The hook has no way to refuse a version, and its replicas must get their requests.
            log.warning("%s has no balancer: %s", version.key, error.traced)
            answer = None
        if answer is None:
            return RoutedVersion(route, None, "")
        return RoutedVersion(route, answer.value, answer.plugin)

    def _place(self, before: Iterable[RoutedVersion], after: Iterable[RoutedVersion]) -> None:
        """Exchange the replicas of a model, keeping the counts of those that stay."""
        for version in before:
            for replica in version.replicas:
                gone = self._replicas.pop(replica.endpoint.replica, None)
                if gone:
                    self._leaving[replica.endpoint.replica] = gone
        for version in after:
            version.replicas = tuple(self._replica(each) for each in version.route.endpoints)
        self._leaving = {id_: each for id_, each in self._leaving.items() if each.in_flight}

    def _let_go(self, before: Iterable[RoutedVersion], after: Collection[RoutedVersion]) -> None:
        """Let those who are held see what has become of their version."""
        for version in before:
            if version not in after:
                version.deleted = True
                self.holding.gone(version)
        for version in after:
            if version.queue:
                self.holding.look(version)

    def _replica(self, endpoint: Endpoint) -> Replica:
        replica = self._leaving.pop(endpoint.replica, None) or self._new_replica(endpoint)
        replica.endpoint = endpoint
        replica.host = str(endpoint.address).encode()
        self._replicas[endpoint.replica] = replica
        return replica


def _nobody_asks(_: VersionKey) -> None:
    """Take it that nobody wants to know."""


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return up to three names that resemble one, best first."""
    typos = range(len(name) - _FEW, len(name) + _FEW + 1)
    alike = (each for each in names if len(each) in typos or each.startswith(name))
    compared = list(islice(alike, MOST_NAMES_COMPARED))
    close = difflib.get_close_matches(name.lower(), compared)
    longer = [each for each in compared if name and each.startswith(name) and each not in close]
    return [*close, *longer][:3]


def _check(rule: Callable[[str], str], name: str) -> None:
    try:
        rule(name)
    except ValueError as error:
        raise NotFound(
            str(error), hint="The name breaks the rule, so nothing can be called so."
        ) from error
