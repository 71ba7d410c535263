"""Serving without leading: routes from what SQL tells and where replicas are, and nothing done.

Routers follow all their life, and a controller does while another one leads. What a version was
found to be stands in SQL, where the leader wrote it. What was read stays good while SQL or a
backend is away, so that warm models go on being served.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from longshore.core.background import beside, survived
from longshore.core.convergence import endpoints_of
from longshore.core.errors import Unavailable
from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, Registry
from longshore.core.publishing import Publisher, followed_route
from longshore.core.types import Endpoint, Model, Version
from longshore.core.wake_times import FollowedWakes

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two questions whether SQL has something new."""

SETTLE = 0.05
"""Seconds that hints are gathered before one look answers them all."""

Endpoints = Mapping[VersionKey, tuple[Endpoint, ...]]

Source = Callable[[Sequence[Version]], Awaitable[Endpoints]]
"""Tells where the replicas of versions are that are ready for requests.

Raises:
    Unavailable: its backend does not answer.
"""


def listed(backend: Backend) -> Source:
    """Return the endpoints of a backend that may list all that it has."""

    async def endpoints(_: Sequence[Version]) -> Endpoints:
        return {each.key: endpoints_of(each) for each in await backend.list()}

    return endpoints


async def heed(backend: Backend, hooks: Hooks, kick: Callable[[], None], pause: float) -> None:
    """Pass a backend's hints on for ever.

    Args:
        backend: whose.
        hooks: the plugins, one of which brought it.
        kick: called at each.
        pause: seconds before it is watched again, should the watching fail.
    """
    while True:
        try:
            async for _ in backend.watch():
                kick()
        except Exception as error:
            # Without hints there still is a look every now and then.
            log.exception("%s", hooks.blame("longshore_backend", backend, error, "watch"))
        await asyncio.sleep(pause)


class Following:
    """Keeps the routes as the leader has made things.

    Args:
        registry: what there is; only read.
        sources: where replicas are, by the backend's name.
        publisher: of the table.
        retiring: returns the replicas that the leader is about to stop; see ``core.reports``.
    """

    def __init__(
        self,
        registry: Registry,
        sources: Mapping[str, Source],
        publisher: Publisher,
        retiring: Callable[[], Mapping[str, int]],
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._publisher = publisher
        self._retiring = retiring
        self._wakes = FollowedWakes(registry)
        self._revision: int | None = None
        self._models: Sequence[Model] | None = None
        self._endpoints: dict[str, Endpoints] = {}
        self._away: set[str] = set()
        self._kicked = asyncio.Event()
        self.applied: Mapping[str, int] = {}
        """The replicas that retire and get no requests from here any more."""

    @property
    def unready(self) -> str:
        """Why requests cannot be routed yet; empty once they can."""
        if self._models is None:
            return "the models were not read from the database yet"
        missing = [name for name in self._sources if name not in self._endpoints]
        return f"backend {missing[0]} has not told where replicas are yet" if missing else ""

    def kick(self) -> None:
        """Ask for a look soon; cheap, and any number of times."""
        self._kicked.set()

    async def once(self) -> None:
        """Look at everything that can be reached, and bring the routes up to date.

        Raises:
            Unavailable: the database does not answer, and never did.
        """
        await self._read()
        models = self._models or ()
        for name, source in self._sources.items():
            versions = [
                record.version
                for model in models
                for record in model.versions
                if record.version.placement.backend == name
            ]
            with self._going_on_without(f"backend {name}"):
                self._endpoints[name] = await source(versions)
        retiring = dict(self._retiring())
        await self._publisher.publish(
            followed_route(model, self._endpoints, retiring, self._wakes) for model in models
        )
        self.applied = retiring

    @asynccontextmanager
    async def running(self, backends: Sequence[Backend], hooks: Hooks) -> AsyncIterator[None]:
        """Follow while the context is open.

        Args:
            backends: whose hints are heeded.
            hooks: the plugins that brought them.
        """
        heeding = {
            f"watch {number}": heed(each, hooks, self.kick, LOOK_EVERY)
            for number, each in enumerate(backends)
        }
        async with beside({"following": self._loop(), **heeding}):
            yield

    async def _loop(self) -> None:
        while True:
            self._kicked.clear()
            with survived(log, "following failed"):
                await self.once()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._kicked.wait()
                    await asyncio.sleep(SETTLE)

    async def _read(self) -> None:
        with self._going_on_without("the registry"):
            revision = await self._registry.revision()
            if revision != self._revision or self._models is None:
                # What changes in between is read twice.
                self._models = await self._registry.models()
                versions = (each for model in self._models for each in model.versions)
                await self._wakes.read([each.version.key for each in versions])
                self._revision = revision
        if self._models is None:
            raise Unavailable("the models cannot be read from the database yet")

    @contextmanager
    def _going_on_without(self, whom: str) -> Iterator[None]:
        """Go on with what was known where somebody does not answer, and say so once."""
        try:
            yield
        except Unavailable as error:
            if whom not in self._away:
                self._away.add(whom)
                log.warning("%s does not answer; what it told last goes on: %s", whom, error)
        else:
            if whom in self._away:
                self._away.discard(whom)
                log.info("%s answers again", whom)
