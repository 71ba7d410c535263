"""What the way of a request asks of the platform: its settings, the contracts, and who is calling.

This much is known to every process that carries requests; the rest, ``core.platform``, only to the
one that has the registry.
"""

from collections.abc import Mapping

from longshore.core.hooks import Hooks
from longshore.core.protocols import Contract
from longshore.core.settings import Settings
from longshore.core.types import Identity


class Front:
    """Answers from what was loaded at the start, and from plugins.

    Args:
        settings: the platform's.
        hooks: the plugins.
        contracts: how containers can be called, by name.
    """

    def __init__(self, settings: Settings, hooks: Hooks, contracts: Mapping[str, Contract]) -> None:
        self.settings = settings
        self.hooks = hooks
        self.contracts = contracts

    @property
    def authenticates(self) -> bool:
        """Whether callers must be recognised: some plugin implements ``longshore_authenticate``."""
        return self.hooks.implemented("longshore_authenticate")

    async def authenticate(self, headers: Mapping[str, str]) -> Identity | None:
        """Return who is calling, or None if nobody recognises them."""
        answer = await self.hooks.first(
            "longshore_authenticate", headers=headers, settings=self.settings
        )
        return answer.value if answer else None
