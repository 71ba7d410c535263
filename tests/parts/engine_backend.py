"""Backends on a real container engine."""

import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from longshore.core.settings import Settings
from longshore.plugins.engine.backend import EngineBackend


class Backends:
    """Makes backends that leave nothing behind."""

    def __init__(self, settings: Settings, socket: Path, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.installation = str(uuid.uuid4())
        self._socket = socket
        self._stack = stack

    async def open(
        self,
        installation: str = "",
        *,
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
        freezes: bool = False,
    ) -> EngineBackend:
        """Open a backend on the common engine, or on the one that an environment leads to."""
        backend = EngineBackend(
            settings or self.settings,
            socket=str(self._socket) if environment is None else None,
            environment=environment or {},
            freezes=freezes,
        )
        self._stack.push_async_callback(backend.close, stop_workloads=True)
        await backend.open(installation or self.installation)
        return backend
