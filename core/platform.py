"""Everything that a user can ask of the platform, in one place.

The management API, the web page and the command line are three ways to call it.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

from longshore.core.collection import Collection
from longshore.core.collector import Collector
from longshore.core.controller import Controller
from longshore.core.convergence import bring_back
from longshore.core.errors import InvalidInput, Refused, Unavailable
from longshore.core.front import Front
from longshore.core.glance import Glance, Glances
from longshore.core.hooks import Hooks
from longshore.core.measures import Measured, known_by
from longshore.core.names import VersionKey
from longshore.core.nodes import known_nodes
from longshore.core.protocols import Backend, Registry
from longshore.core.registration import Registration
from longshore.core.settings import Settings
from longshore.core.types import (
    Decision,
    Event,
    Evidence,
    KnownNode,
    Model,
    TrafficRule,
    Value,
    Version,
    VersionRecord,
    VersionSpec,
    Wake,
    Wish,
    utc_now,
)
from longshore.core.wishes import USER, wished

log = logging.getLogger(__name__)


class Plan(Value):
    """What a registration would store."""

    version: Version
    decisions: tuple[Decision, ...]


class Registered(Value):
    """What a registration did."""

    record: VersionRecord
    created: bool
    """False: the same content was registered already, and nothing changed."""


class Platform(Front):
    """The use cases. All may raise the errors of ``core.errors``.

    Args:
        settings: the platform's.
        hooks: the plugins.
        registry: Longshore's memory, open.
        backends: where things run, by name.
        controller: makes it so; told when there is something to do.
        collector: retires versions that nobody calls.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        registry: Registry,
        backends: Mapping[str, Backend],
        controller: Controller,
        *,
        collector: Collector,
    ) -> None:
        self._measured = known_by(registry)
        self._registration = Registration(settings, hooks, backends, self._measured)
        super().__init__(settings, hooks, self._registration.contracts)
        self._registry = registry
        self._backends = backends
        self._controller = controller
        self._collector = collector
        self._glances = Glances(registry, controller.load)

    async def preflight(self, key: VersionKey, spec: VersionSpec, *, force: bool = False) -> Plan:
        """Work out what ``register`` would do, and store nothing."""
        version, decisions = await self._registration.plan(key, spec, force=force)
        return Plan(version=version, decisions=tuple(decisions))

    async def register(
        self, key: VersionKey, spec: VersionSpec, *, force: bool = False
    ) -> Registered:
        """Register a version, and let it be started.

        Args:
            key: of the version.
            spec: what the user asked for.
            force: register it although no node fits.

        Raises:
            InvalidInput: the image, contract or backend cannot be.
            Conflict: the number is taken by other content.
            Refused: no node fits and it is not forced, or a plugin objects.
        """
        version, decisions = await self._registration.plan(key, spec, force=force)
        created = await self._registry.add_version(version, decisions)
        if created:
            await self._tell(
                Event(kind="registered", key=key, message=f"registered {version.image.pinned}")
            )
        self._controller.kick()
        return Registered(record=await self._registry.version(key), created=created)

    async def nodes(self) -> Sequence[KnownNode]:
        """Return the nodes of all backends, and what is known of each."""
        return await known_nodes(self.hooks, self._backends)

    async def measures(self, digest: str) -> Sequence[Measured]:
        """Return what was measured of an image, by its digest; the newest first."""
        return await self._measured(digest)

    async def replan(
        self, version: Version, measured: Mapping[str, Evidence]
    ) -> tuple[Version, Sequence[Decision]]:
        """Return a version with the plan that follows from what was measured, and store nothing."""
        return await self._registration.replan(version, measured)

    async def models(self) -> Sequence[Model]:
        """Return all models with their versions."""
        return await self._registry.models()

    async def glance(self) -> Glance:
        """Return what is known of all versions, at most a second old."""
        return await self._glances.look()

    async def model(self, name: str) -> Model:
        """Return one model."""
        return await self._registry.model(name)

    async def version(self, key: VersionKey) -> VersionRecord:
        """Return one version."""
        return await self._registry.version(key)

    async def delete(self, key: VersionKey) -> None:
        """Forget a version; its containers go within seconds, after their last answers."""
        await self._registry.version(key)
        if await self._registry.delete_version(key):
            await self._tell(Event(kind="deleted", key=key, message="deleted by a user"))
        self._controller.kick()

    async def delete_model(self, name: str) -> Sequence[VersionKey]:
        """Forget a model with all its versions; return these."""
        model = await self._registry.model(name)
        keys = [record.version.key for record in model.versions]
        for key in keys:
            if await self._registry.delete_version(key):
                await self._tell(Event(kind="deleted", key=key, message="deleted by a user"))
        self._controller.kick()
        return keys

    async def set_traffic(self, name: str, rule: TrafficRule) -> None:
        """Replace a model's traffic rule."""
        await self._registry.set_traffic(name, rule)
        self._controller.kick()

    async def sleep(self, key: VersionKey) -> None:
        """Stop a version's replicas until somebody wakes or calls it.

        Raises:
            Refused: it is collected.
        """
        await self._not_collected(key, "nothing of it runs that could be put to sleep")
        await self._wish(key, Wish.SLEEP, "put to sleep by a user")

    async def wake(self, key: VersionKey) -> None:
        """Start a sleeping version, and a failed one at once instead of at its next try.

        Raises:
            Refused: its image was deleted from its registry when it was collected.
            Unavailable: that registry does not answer.
        """
        await self._image_is_there(key)
        await self._wish(key, Wish.RUN, "woken by a user")
        self._controller.retry(key)

    async def _wish(self, key: VersionKey, wish: Wish, reason: str) -> None:
        load = self._controller.load(key)
        await self._registry.set_wish(key, wish, reason)
        await self._explain(key, wished(wish.value, load, reason, by=USER, at=utc_now()))
        await self._tell(Event(kind="wished", key=key, message=reason))
        self._controller.kick()

    async def pin(self, key: VersionKey, *, pinned: bool) -> None:
        """Say whether a version is never to be collected.

        Raises:
            Refused: it is to be kept, and is collected already.
        """
        if pinned:
            await self._not_collected(key, "a pin would keep nothing")
        await self._registry.set_pinned(key, pinned=pinned)
        told = "pinned by a user: it is never collected" if pinned else "unpinned by a user"
        outcome = "pinned" if pinned else "unpinned"
        await self._explain(key, Decision(hook="pin", plugin=USER, outcome=outcome, why=told))
        await self._tell(Event(kind="wished", key=key, message=told))

    async def _not_collected(self, key: VersionKey, so: str) -> None:
        if (await self._registry.version(key)).wish is Wish.COLLECT:
            raise Refused(
                f"{key} is collected, so that {so}", hint=f"Bring it back: longshore wake {key}"
            )

    async def _image_is_there(self, key: VersionKey) -> None:
        """Look again for an image that was deleted: somebody may have pushed it since."""
        record = await self._registry.version(key)
        if record.collected is None or record.collected.comes_back:
            return
        image = record.version.image
        try:
            await self.hooks.first(
                "longshore_resolve_image", reference=image.pinned, settings=self.settings
            )
        except InvalidInput as error:
            raise Refused(
                f"{key} cannot be brought back: its image was deleted from its registry after it "
                "was collected (delete_collected)",
                hint=bring_back(record),
            ) from error

    async def plan_collection(self) -> Collection:
        """Tell which versions would be collected now, and why the others would not."""
        return await self._collector.plan()

    async def collect(self) -> Collection:
        """Collect what nobody called for its retention time, now instead of within the hour."""
        return await self._collector.collect()

    def logs(self, key: VersionKey, *, tail: int, follow: bool) -> AsyncIterator[str]:
        """Yield a version's log lines, as ``Backend.logs`` does."""
        return self._logs(key, tail, follow)

    async def _logs(self, key: VersionKey, tail: int, follow: bool) -> AsyncIterator[str]:
        record = await self._registry.version(key)
        backend = self._backends.get(record.version.placement.backend)
        if backend is None:
            name = record.version.placement.backend
            raise Unavailable(f"no enabled plugin offers the backend {name!r}")
        async for line in backend.logs(key, tail=tail, follow=follow):
            yield line

    async def decisions(self, key: VersionKey) -> Sequence[Decision]:
        """Return what was decided about a version, oldest first."""
        await self._registry.version(key)
        return await self._registry.decisions(key)

    async def events(self, key: VersionKey | None, limit: int) -> Sequence[Event]:
        """Return the newest events, oldest of them first."""
        return await self._registry.events(key, limit)

    async def wakes(self, key: VersionKey) -> Sequence[Wake]:
        """Return the newest wakes of a version, oldest of them first."""
        await self._registry.version(key)
        return await self._registry.wakes(key)

    def wakes_counted(self) -> Mapping[VersionKey, tuple[Sequence[int], float]]:
        """Return the histogram of each version's wakes since this start, and their sum."""
        return self._controller.ledger.counted()

    def unready(self) -> str:
        """Return why the platform is not ready for requests; empty if it is."""
        if not self._controller.passes:
            return "the controller has not finished its first pass yet"
        return ""

    async def _explain(self, key: VersionKey, decision: Decision) -> None:
        # The wish stands in SQL already, and is carried out whether it can be explained or not.
        with contextlib.suppress(Unavailable):
            await self._registry.add_decisions(key, [decision])

    async def _tell(self, event: Event) -> None:
        log.info("%s %s: %s", event.key, event.kind, event.message)
        # What happened stands in SQL already; the record of it is a courtesy.
        with contextlib.suppress(Unavailable):
            await self._registry.add_events([event])
        await self.hooks.every("longshore_on_event", event=event)
