"""Telling routers where requests go: from what a pass found to the route table."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from longshore.core.convergence import endpoints_of, surplus
from longshore.core.names import VersionKey
from longshore.core.routes import ModelRoute, RouteTable, VersionRoute
from longshore.core.types import (
    Endpoint,
    Model,
    State,
    VersionRecord,
    VersionStatus,
    Wish,
    WorkloadStatus,
)

ON_THE_WAY = frozenset({State.ASLEEP, State.PENDING, State.PULLING, State.STARTING})
"""In these states a version has a replica soon, or as soon as somebody asks for it."""


class KnowsWakes(Protocol):
    """What is known of the wakes of all versions."""

    def expected(self, key: VersionKey) -> float | None:
        """Return how many seconds the next wake of a version should take; None if unknown."""

    def woken_at(self, key: VersionKey) -> datetime | None:
        """Return when the wake of a version was asked for that is under way; None if none is."""


class _NothingKnown:
    def expected(self, _: VersionKey) -> float | None:
        return None

    def woken_at(self, _: VersionKey) -> datetime | None:
        return None


NOTHING_KNOWN: KnowsWakes = _NothingKnown()


def route_of(
    model: Model,
    statuses: Mapping[VersionKey, VersionStatus],
    have: Mapping[VersionKey, WorkloadStatus],
    wanted: Mapping[VersionKey, int],
    wakes: KnowsWakes = NOTHING_KNOWN,
) -> ModelRoute:
    """Return the routes of a model.

    Replicas that are to go are left out, so that they can drain.

    Args:
        model: with its versions.
        statuses: what each version was found to be.
        have: what runs of each.
        wanted: how many replicas each should have, where that is known.
        wakes: what is known of each version's.
    """
    return ModelRoute(
        name=model.name,
        traffic=model.traffic,
        versions=tuple(
            _version_route(
                record,
                statuses[record.version.key],
                have.get(record.version.key),
                wanted.get(record.version.key),
                wakes,
            )
            for record in model.versions
        ),
    )


def followed_route(
    model: Model,
    endpoints: Mapping[str, Mapping[VersionKey, tuple[Endpoint, ...]]],
    retiring: Collection[str],
    wakes: KnowsWakes = NOTHING_KNOWN,
) -> ModelRoute:
    """Return the routes of a model where another process leads.

    Args:
        model: with its versions, and what the leader found them to be.
        endpoints: ready replicas, by backend and version.
        retiring: replicas that are to go, by their ids.
        wakes: what is known of each version's.
    """

    def ready(record: VersionRecord) -> tuple[Endpoint, ...]:
        if record.wish is not Wish.RUN:
            return ()
        of_backend = endpoints.get(record.version.placement.backend, {})
        found = of_backend.get(record.version.key, ())
        return tuple(each for each in found if each.replica not in retiring)

    return ModelRoute(
        name=model.name,
        traffic=model.traffic,
        versions=tuple(
            VersionRoute(
                version=record.version,
                endpoints=ready(record),
                state=_state(record, record.status),
                reason=record.status.reason,
                hint=record.status.hint,
                retry_at=record.status.retry_at,
                coming=_is_coming(record, record.status),
                comes_back=_comes_back(record),
                wake_seconds=wakes.expected(record.version.key),
                woken_at=wakes.woken_at(record.version.key),
            )
            for record in model.versions
        ),
    )


def _version_route(
    record: VersionRecord,
    status: VersionStatus,
    have: WorkloadStatus | None,
    wanted: int | None,
    wakes: KnowsWakes,
) -> VersionRoute:
    if record.wish is not Wish.RUN:
        wanted = 0
    endpoints = endpoints_of(have)
    if endpoints and wanted is not None:
        leaving = surplus(have, wanted)
        endpoints = tuple(each for each in endpoints if each.replica not in leaving)
    return VersionRoute(
        version=record.version,
        endpoints=endpoints,
        state=_state(record, status),
        reason=status.reason,
        hint=status.hint,
        retry_at=status.retry_at,
        coming=_is_coming(record, status),
        comes_back=_comes_back(record),
        wake_seconds=wakes.expected(record.version.key),
        woken_at=wakes.woken_at(record.version.key),
    )


def _state(record: VersionRecord, status: VersionStatus) -> State:
    """Return what routers are to take a version for: not for asleep while it is being collected."""
    return State.COLLECTED if record.wish is Wish.COLLECT else status.state


def _comes_back(record: VersionRecord) -> bool:
    collected = record.collected
    return record.wish is Wish.COLLECT and (collected is None or collected.comes_back)


def _is_coming(record: VersionRecord, status: VersionStatus) -> bool:
    """Return whether requests may wait for a version.

    They wait for one that served and failed once, but not for the next try of any other.
    """
    if record.wish not in {Wish.RUN, Wish.SLEEP}:
        return False
    if status.state is State.READY:
        # Where it has no replica all the same, the next status tells why.
        return True
    if status.served and status.failures == 1:
        return status.state in ON_THE_WAY or status.state is State.FAILED
    return status.state in ON_THE_WAY and not status.failures


class Publisher:
    """Keeps a route table as the last pass wants it, and touches only what changed.

    Args:
        table: the router's.
        wake_collected: let requests wait for what is collected, and so wake it.
    """

    def __init__(self, table: RouteTable, *, wake_collected: bool = False) -> None:
        self._table = table
        self._wake_collected = wake_collected
        self._published: dict[str, object] = {}

    async def publish(self, routes: Iterable[ModelRoute]) -> None:
        """Update the table; models that are not among the routes leave it."""
        known = {route.name: self._with_collected(route) for route in routes}
        for name in self._published.keys() - known.keys():
            await self._table.remove(name)
            del self._published[name]
        for name, route in known.items():
            # The versions themselves never change; comparing them again would cost the most.
            essence = (
                route.traffic,
                [
                    (
                        each.version.created_at,
                        each.state,
                        each.reason,
                        each.hint,
                        each.retry_at,
                        each.coming,
                        each.wake_seconds,
                        each.woken_at,
                        each.endpoints,
                    )
                    for each in route.versions
                ],
            )
            if self._published.get(name) != essence:
                await self._table.update(route)
                self._published[name] = essence

    def _with_collected(self, route: ModelRoute) -> ModelRoute:
        """Return a route by which requests may wake what is collected, if they may."""
        if not self._wake_collected:
            return route
        versions = tuple(
            each.model_copy(update={"coming": True}) if each.comes_back else each
            for each in route.versions
        )
        return route.model_copy(update={"versions": versions})
