"""Looking: what SQL wishes and what backends have, as one pass of the controller sees it.

What was read last stays good while SQL or a backend is away, so that warm models are served and
repaired.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from longshore.core.convergence import Step
from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend, Registry
from longshore.core.types import Model, Version, VersionRecord, VersionStatus, WorkloadStatus

log = logging.getLogger(__name__)

Place = tuple[str, VersionKey]
"""A backend's name, and a version there: one that was registered anew elsewhere is in two."""


@dataclass(slots=True)
class World:
    """What one pass saw, and what it decided."""

    models: Sequence[Model]
    known: Mapping[VersionKey, Version]
    """All that is registered."""
    listed: Mapping[str, Sequence[WorkloadStatus]]
    """What each backend told last; one that is away now told it to an earlier pass."""
    away: Mapping[str, Unavailable]
    """Backends that did not answer."""
    going: set[Place]
    """Where replicas run, or did when it looked, that belong to no version any more."""
    have: dict[VersionKey, WorkloadStatus] = field(default_factory=dict)
    """What runs of each version on the backend where it should."""
    steps: dict[VersionKey, tuple[VersionRecord, Step]] = field(default_factory=dict)
    wanted: dict[VersionKey, int] = field(default_factory=dict)

    def sort(self, anew: Collection[VersionKey]) -> None:
        """Tell what runs of each version from what belongs to none and has to go.

        Args:
            anew: numbers that stand for another version than before; what runs is not its.
        """
        for name, statuses in self.listed.items():
            for status in statuses:
                version, at = self.known.get(status.key), (name, status.key)
                if version is None or version.placement.backend != name or status.key in anew:
                    self.going.add(at)
                elif at not in self.going:
                    self.have[status.key] = status


class Looking:
    """Reads what there is, and remembers it.

    Args:
        registry: what is wished; only read.
        backends: where things run, by name; only read.
    """

    def __init__(self, registry: Registry, backends: Mapping[str, Backend]) -> None:
        self._registry = registry
        self._backends = backends
        self._models: Sequence[Model] | None = None
        self._listed: dict[str, Sequence[WorkloadStatus]] = {}
        self._found: Mapping[VersionKey, VersionStatus] = {}

    @property
    def models(self) -> Sequence[Model]:
        """What is registered, as it was read last."""
        return self._models or ()

    def remember(self, found: Mapping[VersionKey, VersionStatus]) -> None:
        """Remember what versions were found to be, in case SQL is away and cannot tell it."""
        self._found = found

    async def look(self, going: Callable[[], set[Place]]) -> World:
        """Ask SQL and all backends; nothing of it is sorted yet.

        Args:
            going: returns where replicas are removed; asked right before backends are, because
                what they list may be gone a moment later.

        Raises:
            Unavailable: SQL does not answer, and never did.
        """
        try:
            self._models = await self._registry.models()
        except Unavailable as error:
            # What was wished last goes on, so that warm models are served and repaired.
            if self._models is None:
                raise
            log.warning("the registry does not answer: %s", error.message)
            self._models = [self._remembered(model) for model in self._models]
        away: dict[str, Unavailable] = {}
        leaving = going()
        for name, backend in self._backends.items():
            try:
                self._listed[name] = await backend.list()
            except Unavailable as error:
                away[name] = error
                log.warning("backend %s does not answer: %s", name, error.message)
        known = {
            record.version.key: record.version for model in self.models for record in model.versions
        }
        return World(self.models, known, self._listed, away, leaving)

    def glance(self, version: Version, going: Collection[Place]) -> World:
        """Return what was seen last of one version, without asking anybody.

        Args:
            version: which.
            going: where replicas are removed, or were since the last look.
        """
        key, listed = version.key, self._listed.get(version.placement.backend, ())
        have = {each.key: each for each in listed if each.key == key}
        return World((), {}, {}, {}, set(going), have)

    def _remembered(self, model: Model) -> Model:
        """Return a model that SQL told earlier, with the status that was found since."""
        versions = tuple(
            record.model_copy(update={"status": self._found.get(record.version.key, record.status)})
            for record in model.versions
        )
        return model.model_copy(update={"versions": versions})
