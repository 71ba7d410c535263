"""Callers that were recognised a moment ago, so that the fast lane need not ask plugins again."""

from collections.abc import Callable

from longshore.core.types import Identity

MOST = 1024
"""How many are remembered; beyond it all are forgotten, and asked for again."""


class Callers:
    """Remembers ``Authorization`` headers for as long as the plugin that recognised them allows.

    Args:
        clock: seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[bytes, float] = {}

    def remember(self, authorization: bytes, identity: Identity) -> None:
        """Note who sent a header, if the identity may be remembered."""
        if identity.remember and authorization:
            if len(self._until) >= MOST:
                self._until.clear()
            self._until[authorization] = self._clock() + identity.remember

    def knows(self, authorization: bytes) -> bool:
        """Return whether whoever sends this header is known and need not be asked for."""
        until = self._until.get(authorization)
        return until is not None and self._clock() < until
