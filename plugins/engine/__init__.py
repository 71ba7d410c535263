"""The backend on a container engine, Docker or Podman, on this machine: the default."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict

from longshore.core.hookspecs import hookimpl
from longshore.core.protocols import Backend
from longshore.core.settings import Settings as PlatformSettings


class EngineSettings(BaseModel):
    """Settings of the plugin ``engine`` in plugins.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    socket: str | None = None
    """Unix socket of the engine; if left out, DOCKER_HOST, CONTAINER_HOST and the usual places
    are tried, and at last Podman's service is started."""
    when_asleep: Literal["remove", "pause"] = "remove"
    """What becomes of the containers of a version that goes to sleep.

    ``pause`` keeps one of them, frozen, and the next wake goes on with it in some milliseconds;
    until then it keeps its memory, and that of a GPU.
    """


class Plugin:
    """Runs versions as containers on this machine.

    Args:
        settings: of this plugin.
    """

    Settings = EngineSettings

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings

    @hookimpl
    def longshore_backend(self, settings: PlatformSettings) -> Backend:
        """Return a backend on whichever engine answers when it is opened."""
        # aiohttp takes a while to import, and client commands load plugins too.
        from longshore.plugins.engine.backend import EngineBackend

        return EngineBackend(
            settings,
            socket=self._settings.socket,
            environment=os.environ,
            freezes=self._settings.when_asleep == "pause",
        )
