"""Docker's API over the engine's Unix socket; Docker and Podman both speak it.

Ready-made clients were tried and left: a plain HTTP registry needs an endpoint of Podman's own, and
their streams end alike whether the engine finished or died. How one call goes is ``wire``.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longshore.core.errors import Unavailable
from longshore.plugins.engine.wire import CALL_TIMEOUT, EngineError, Wire, json_lines

OPEN_TIMEOUT = 15.0
"""Seconds that an engine may take to say who it is; a busy machine has just started it."""

START_TIMEOUT = 120.0
"""Seconds to start a container; a busy disk makes it slow."""

AT_ONCE = 16
"""How many short calls may be under way."""

LOOK_AGAIN = (0.1, 0.3, 1.0, 2.0)
"""Seconds between looks for an image, where the engine stumbles over others."""

_UNCHANGED = 304


@dataclass(frozen=True, slots=True)
class Engine:
    """Who answers at the socket."""

    name: str
    """``docker`` or ``podman``."""
    version: str

    @property
    def is_podman(self) -> bool:
        """Whether it is Podman, which differs in a few calls."""
        return self.name == "podman"


class Client:
    """A connection to one engine.

    Args:
        socket: path of the Unix socket.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.engine = Engine("docker", "")
        self._api = ""
        self._calls = asyncio.Semaphore(AT_ONCE)
        self._wire = Wire(socket)

    async def close(self) -> None:
        """Close all connections; calling it twice is silence."""
        await self._wire.close()

    async def open(self) -> None:
        """Find out who answers, and agree on the version of the API.

        Raises:
            Unavailable: nobody, or somebody else.
        """
        try:
            version = await self._wire.call("GET", "/version", timeout=OPEN_TIMEOUT)
            parts = [part["Name"] for part in version.get("Components") or ()]
            podman = any("podman" in part.lower() for part in parts)
            self.engine = Engine("podman" if podman else "docker", version["Version"])
            self._api = f"/v{version['ApiVersion']}"
        except (EngineError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"what answers at {self.socket} is no container engine") from error

    # --- containers ---------------------------------------------------------------------------

    async def containers(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """List the containers that carry all these labels, running or not."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        params = {"all": "1", "filters": json.dumps({"label": wanted})}
        listed = await self._list(params)
        # What is removed on the strength of this list must be ours beyond doubt.
        return [each for each in listed if labels.items() <= (each.get("Labels") or {}).items()]

    async def labelled(self, label: str) -> list[dict[str, Any]]:
        """List the containers that carry a label, whatever it says, running or not."""
        return await self._list({"all": "1", "filters": json.dumps({"label": [label]})})

    async def _list(self, params: Mapping[str, str], tries: int = 5) -> list[dict[str, Any]]:
        try:
            listed: list[dict[str, Any]] = await self._short(
                "GET", "/containers/json", params=params
            )
        except EngineError as error:
            # Podman fails the whole list for one container that vanishes under it.
            if error.gone and tries > 1:
                return await self._list(params, tries - 1)
            raise
        return listed

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """Return everything about a container; None if it is gone."""
        try:
            found: dict[str, Any] = await self._short("GET", f"/containers/{container}/json")
        except EngineError as error:
            if error.gone:
                return None
            raise
        return found

    async def stats(self, container: str) -> dict[str, Any] | None:
        """Return what a container uses now; None if it is gone."""
        params = {"stream": "false", "one-shot": "true"}
        try:
            found: dict[str, Any] = await self._short(
                "GET", f"/containers/{container}/stats", params=params
            )
        except EngineError as error:
            if error.gone:
                return None
            raise
        return found

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Create a container and return its id."""
        created = await self._short(
            "POST", "/containers/create", params={"name": name}, body=config
        )
        return str(created["Id"])

    async def start(self, container: str) -> None:
        """Start a container; one that runs stays as it is."""
        await self._short("POST", f"/containers/{container}/start", timeout=START_TIMEOUT)

    async def stop(self, container: str, grace: int) -> None:
        """Ask a container to stop, and kill it after ``grace`` seconds; gone is fine."""
        await self._unless_gone(
            "POST", f"/containers/{container}/stop", {"t": str(grace)}, grace + CALL_TIMEOUT
        )

    async def rename(self, container: str, name: str) -> None:
        """Give a container another name, whatever its state."""
        await self._short("POST", f"/containers/{container}/rename", params={"name": name})

    async def pause(self, container: str) -> None:
        """Freeze all that runs in a container."""
        await self._short("POST", f"/containers/{container}/pause")

    async def unpause(self, container: str) -> None:
        """Let a frozen container go on; one that is gone is fine."""
        await self._unless_gone("POST", f"/containers/{container}/unpause", {}, CALL_TIMEOUT)

    async def kill(self, container: str) -> None:
        """Kill a container at once; one that is gone or does not run is fine."""
        try:
            await self._unless_gone("POST", f"/containers/{container}/kill", {}, CALL_TIMEOUT)
        except EngineError as error:
            if not error.conflicts:
                raise

    async def remove(self, container: str) -> None:
        """Remove a container with its volumes; gone, or just going, is fine."""
        params = {"force": "1", "v": "1"}
        try:
            await self._unless_gone("DELETE", f"/containers/{container}", params, START_TIMEOUT)
        except EngineError as error:
            if not error.conflicts:
                raise

    def log(
        self, container: str, params: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the raw log of a container: pieces of Docker's multiplexed stream."""
        both = {"stdout": "1", "stderr": "1", "timestamps": "1", **params}
        return self._wire.stream("GET", f"{self._api}/containers/{container}/logs", both)

    @asynccontextmanager
    async def events(
        self, labels: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Open the stream of what happens to containers that carry these labels."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        filters = json.dumps({"label": wanted, "type": ["container"]})
        async with self._wire.stream("GET", f"{self._api}/events", {"filters": filters}) as pieces:
            yield json_lines(pieces)

    # --- images and the machine ---------------------------------------------------------------

    async def has_image(self, reference: str) -> bool:
        """Return whether the engine has the image already."""
        return await self._image(reference) is not None

    async def image_names(self, reference: str) -> Sequence[str]:
        """Return the names with a tag that an image has; none of an image that is not there."""
        names = (await self._image(reference) or {}).get("RepoTags") or ()
        # Where a name has no tag, engines tell its digest, or <none>.
        return [each for each in names if "@" not in each and "<none>" not in each]

    async def _image(self, reference: str) -> Mapping[str, Any] | None:
        """Return what the engine tells of an image; None where it is not there."""
        for pause in (*LOOK_AGAIN, None):
            try:
                found: Mapping[str, Any] = await self._short("GET", f"/images/{reference}/json")
            except EngineError as error:
                if error.gone:
                    return None
                if not error.stumbled or pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                break
        return found

    @asynccontextmanager
    async def pull(
        self, reference: str, *, plain_http: bool, auth: str | None
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Pull an image by digest; yields the engine's messages on it.

        Args:
            reference: ``repository@sha256:...``.
            plain_http: the registry may speak HTTP; Docker goes by its own settings instead.
            auth: content of ``X-Registry-Auth``.
        """
        headers = {"X-Registry-Auth": auth} if auth else {}
        if plain_http and self.engine.is_podman:
            # Docker's own call has no such switch.
            path, api = "/libpod/images/pull", "/v4.0.0"
            params = {"reference": reference, "tlsVerify": "false"}
        else:
            path, api = "/images/create", self._api
            repository, _, digest = reference.partition("@")
            params = {"fromImage": repository, "tag": digest}
        async with self._wire.stream("POST", api + path, params, headers) as pieces:
            yield json_lines(pieces)

    async def remove_image(self, reference: str) -> bool:
        """Remove an image; return whether it is gone, and not needed by a container."""
        try:
            # Its layers go with it, but for those that others have, too.
            await self._wire.call(
                "DELETE", f"{self._api}/images/{reference}", timeout=START_TIMEOUT
            )
        except EngineError as error:
            if not error.gone and not error.conflicts:
                raise
            return error.gone
        return True

    async def info(self) -> dict[str, Any]:
        """Return what the engine says about itself and its machine."""
        found: dict[str, Any] = await self._short("GET", "/info")
        return found

    # --- calls --------------------------------------------------------------------------------

    async def _short(self, method: str, path: str, **options: Any) -> Any:
        async with self._calls:
            return await self._wire.call(method, self._api + path, **options)

    async def _unless_gone(
        self, method: str, path: str, params: Mapping[str, str], within: float
    ) -> None:
        try:
            await self._wire.call(method, self._api + path, params=params, timeout=within)
        except EngineError as error:
            if not error.gone and error.status != _UNCHANGED:
                raise
