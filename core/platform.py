"""Everything that a user can ask of the platform, in one place.

The management API, the web page and the command line are three ways to call it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from longshore.core.hooks import Hooks
from longshore.core.names import VersionKey
from longshore.core.protocols import Contract
from longshore.core.settings import Settings
from longshore.core.types import (
    Decision,
    Event,
    Identity,
    Model,
    TrafficRule,
    Value,
    Version,
    VersionRecord,
    VersionSpec,
    Wake,
)


class Plan(Value):
    """What a registration would store."""

    version: Version
    decisions: tuple[Decision, ...]


class Registered(Value):
    """What a registration did."""

    record: VersionRecord
    created: bool
    """False: the same content was registered already, and nothing changed."""


class Platform:
    """The use cases. All may raise the errors of ``core.errors``."""

    settings: Settings
    hooks: Hooks
    contracts: Mapping[str, Contract]

    async def preflight(self, key: VersionKey, spec: VersionSpec) -> Plan:
        """Work out what ``register`` would do, and store nothing."""
        raise NotImplementedError

    async def register(self, key: VersionKey, spec: VersionSpec) -> Registered:
        """Register a version, and let it be started.

        Raises:
            InvalidInput: the image, contract or backend cannot be.
            Conflict: the number is taken by other content.
            Refused: no node fits, or a plugin objects.
        """
        raise NotImplementedError

    async def models(self) -> Sequence[Model]:
        """Return all models with their versions."""
        raise NotImplementedError

    async def model(self, name: str) -> Model:
        """Return one model."""
        raise NotImplementedError

    async def version(self, key: VersionKey) -> VersionRecord:
        """Return one version."""
        raise NotImplementedError

    async def delete(self, key: VersionKey) -> None:
        """Forget a version; its containers go within seconds."""
        raise NotImplementedError

    async def delete_model(self, name: str) -> Sequence[VersionKey]:
        """Forget a model with all its versions; return these."""
        raise NotImplementedError

    async def set_traffic(self, name: str, rule: TrafficRule) -> None:
        """Replace a model's traffic rule."""
        raise NotImplementedError

    async def sleep(self, key: VersionKey) -> None:
        """Stop a version's replicas until it is woken."""
        raise NotImplementedError

    async def wake(self, key: VersionKey) -> None:
        """Start a sleeping version, and a failed one at once instead of at its next try."""
        raise NotImplementedError

    def logs(self, key: VersionKey, *, tail: int, follow: bool) -> AsyncIterator[str]:
        """Yield a version's log lines, as ``Backend.logs`` does."""
        raise NotImplementedError

    async def decisions(self, key: VersionKey) -> Sequence[Decision]:
        """Return what was decided about a version, oldest first."""
        raise NotImplementedError

    async def events(self, key: VersionKey | None, limit: int) -> Sequence[Event]:
        """Return the newest events, oldest of them first."""
        raise NotImplementedError

    async def wakes(self, key: VersionKey) -> Sequence[Wake]:
        """Return the newest wakes of a version, oldest of them first."""
        raise NotImplementedError

    @property
    def authenticates(self) -> bool:
        """Whether callers must be recognised: some plugin implements ``longshore_authenticate``."""
        return self.hooks.implemented("longshore_authenticate")

    async def authenticate(self, headers: Mapping[str, str]) -> Identity | None:
        """Return who is calling, or None if nobody recognises them."""
        answer = await self.hooks.first("longshore_authenticate", headers=headers)
        return answer.value if answer else None

    async def ready(self) -> str:
        """Return why the platform is not ready for requests; empty if it is."""
        raise NotImplementedError
