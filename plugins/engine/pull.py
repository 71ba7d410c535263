"""Pulling images by digest, with progress, logins, and reasons in sentences."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from longshore.core.backends.causes import short, why_not_pulled
from longshore.core.errors import WorkloadFailed
from longshore.core.settings import RegistryLogin, Settings, is_loopback
from longshore.core.types import Progress
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.wire import EngineError

AT_ONCE = 4
"""How many images are pulled at once; more only fight for the same line and disk."""


class Puller:
    """Gets images into the engine.

    Args:
        client: the engine.
        settings: the platform's, for logins and plain HTTP registries.
    """

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def pull(self, reference: str, report: Callable[[Progress], None]) -> None:
        """Have an image in the engine; if it is there already, return at once.

        Args:
            reference: ``repository@sha256:...``.
            report: told how far the pull has come.

        Raises:
            WorkloadFailed: it cannot be had, and why.
        """
        if await self._client.has_image(reference):
            return
        report(Progress(what=f"waiting to pull {short(reference)}"))
        async with self._slots:
            # Another version of the same image may have been quicker.
            if not await self._client.has_image(reference):
                await self._pull(reference, report)

    async def _pull(self, reference: str, report: Callable[[Progress], None]) -> None:
        host = reference.partition("/")[0]
        login = self._settings.registries.get(host)
        layers = Layers(short(reference))
        report(layers.progress)
        try:
            async with self._client.pull(
                reference,
                plain_http=speaks_plain_http(host, self._settings),
                auth=auth_header(host, login) if login else None,
            ) as messages:
                async for message in messages:
                    if message.get("error"):
                        raise EngineError(0, str(message["error"]))
                    layers.feed(message)
                    report(layers.progress)
        except EngineError as error:
            raise why_not_pulled(reference, error.message, login) from error
        if not await self._client.has_image(reference):
            raise WorkloadFailed(
                f"the pull of {short(reference)} ended, but the engine does not have the image"
            )


class Layers:
    """Adds up what an engine tells of each layer.

    Args:
        image: for people.
    """

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}

    def feed(self, message: Mapping[str, Any]) -> None:
        """Take one message of the pull."""
        layer, detail = message.get("id"), message.get("progressDetail") or {}
        if not isinstance(layer, str):
            return
        # What comes after the download counts bytes of its own, from 0 again.
        if message.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = int(detail.get("current") or 0), int(detail["total"])
        elif message.get("status") == "Download complete" and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = total, total

    @property
    def progress(self) -> Progress:
        """How far the download is, in bytes; the total grows while layers are found."""
        return Progress(
            what=f"pulling {self._image}",
            done=sum(done for done, _ in self._layers.values()),
            total=sum(total for _, total in self._layers.values()),
        )


def speaks_plain_http(host: str, settings: Settings) -> bool:
    """Return whether the registry at ``host[:port]`` may be spoken to without TLS."""
    return host in settings.insecure_registries or is_loopback(urlsplit(f"//{host}").hostname or "")


def auth_header(host: str, login: RegistryLogin) -> str:
    """Return a login as engines want it in ``X-Registry-Auth``."""
    content = {
        "username": login.username,
        "password": login.password.get_secret_value(),
        "serveraddress": host,
    }
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
