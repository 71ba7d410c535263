"""List and watch: what the API server has of one kind of object, kept in memory."""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncGenerator, Callable, Container, Iterable

from longshore.core.errors import Unavailable
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.kinds import Json, Kind

log = logging.getLogger(__name__)

PAGE = 500
"""Objects per answer when all are listed."""

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between tries to reach an API server that is away."""

SYNC_WITHIN = 30.0
"""Seconds that the first look at everything may take."""

WATCH_FOR = (240, 300)
"""Seconds after which a watch is to end and begin anew: drawn by chance, so that many who began
together do not go on together."""

_GONE = 410


class Expired(Exception):
    """The API server knows no more what changed since; everything has to be listed again."""


class Cache:
    """All objects of one kind that carry certain labels.

    It is filled by ``run``, and keeps what it has while the API server is away.

    Args:
        client: the cluster.
        kind: of objects.
        selector: the labels, as the API takes them.
        changed: called after each change.
    """

    def __init__(
        self, client: Client, kind: Kind, selector: str, changed: Callable[[], None]
    ) -> None:
        self.kind = kind
        self.problem: Unavailable | None = None
        """Why it is not up to date; None while it is."""
        self.synced = asyncio.Event()
        """Set once everything was listed."""
        self._client = client
        self._selector = selector
        self._changed = changed
        self._objects: dict[str, Json] = {}
        self._version = ""
        """The resource version up to which it has seen everything; empty: list first."""

    def get(self, name: str) -> Json | None:
        """Return one object; None where there is none."""
        return self._objects.get(name)

    def all(self) -> Iterable[Json]:
        """Return all objects."""
        return self._objects.values()

    async def run(self) -> None:
        """List once, then follow every change, until cancelled."""
        pause = SHORTEST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                async with contextlib.aclosing(self._watch()) as changes:
                    async for change in changes:
                        self._take(change)
                        pause = SHORTEST_PAUSE
                # It ended in good time, and the next one goes on where it was.
            except Expired:
                log.info("%s: the history is gone; listing again", self.kind.plural)
                self._version = ""
            except Unavailable as error:
                self._fail(error)
            except ApiError as error:
                # Refused for now: rights can be given, and a namespace can come back.
                self._version = ""
                self._fail(Unavailable(f"{self.kind.plural} cannot be watched: {error.message}"))
            except Exception as error:
                # Whoever ended here would never see anything again.
                log.exception("%s: the watch tripped", self.kind.plural)
                self._version = ""
                self._fail(Unavailable(f"{self.kind.plural} cannot be watched: {error!r}"))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _list(self) -> None:
        """Replace everything by what is there now."""
        found: dict[str, Json] = {}
        query = {"labelSelector": self._selector, "limit": str(PAGE)}
        path = self._client.path(self.kind)
        while True:
            try:
                page = await self._client.get(path, query)
            except ApiError as error:
                # Many pages take long, and what comes after the last one may be too old by then.
                raise Expired if error.status == _GONE else error from error
            for each in page.get("items") or ():
                # The things in a list leave out what they are.
                what = {"apiVersion": self.kind.api_version, "kind": self.kind.name}
                found[each["metadata"]["name"]] = {**what, **_trimmed(each)}
            following = page["metadata"].get("continue")
            if not following:
                break
            query["continue"] = following
        self._objects = found
        self._version = page["metadata"]["resourceVersion"]
        self.synced.set()
        self._changed()

    async def _watch(self) -> AsyncGenerator[Json, None]:
        query = {
            "watch": "true",
            "labelSelector": self._selector,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*WATCH_FOR)),  # noqa: S311 - no secret
        }
        try:
            async with self._client.stream(self._client.path(self.kind), query) as lines:
                # Not before: an API server that is away may take long to say so.
                self._well()
                async for line in lines:
                    if line.strip():
                        yield json.loads(line)
        except ApiError as error:
            raise Expired if error.status == _GONE else error from error
        except ValueError as error:
            # Cut off in the middle of a line.
            raise Unavailable(f"the watch of {self.kind.plural} broke off") from error

    def _take(self, change: Json) -> None:
        what, item = change["type"], change["object"]
        if what == "ERROR":
            if item.get("code") == _GONE:
                raise Expired
            # Whatever it is, what was seen so far cannot be built on.
            raise ApiError(item.get("code", 0), item.get("reason", ""), item.get("message", ""))
        metadata = item["metadata"]
        self._version = metadata["resourceVersion"]
        if what == "BOOKMARK":
            return
        if what == "DELETED":
            self._objects.pop(metadata["name"], None)
        else:
            self._objects[metadata["name"]] = _trimmed(item)
        self._changed()

    def _well(self) -> None:
        if self.problem:
            log.info("%s are watched again", self.kind.plural)
            self.problem = None
            self._changed()

    def _fail(self, error: Unavailable) -> None:
        if self.problem is None:
            log.warning("%s: %s", self.kind.plural, error.message)
            self.problem = error
            self._changed()
        self.problem = error


async def synced(caches: Iterable[Cache], optional: Container[Kind] = ()) -> None:
    """Wait until all caches have seen everything.

    Args:
        caches: all of them.
        optional: kinds that a cluster may not have, or not let us see.

    Raises:
        Unavailable: one of them cannot.
    """
    try:
        async with asyncio.timeout(SYNC_WITHIN):
            for cache in caches:
                while not cache.synced.is_set():
                    if cache.problem and cache.kind in optional:
                        break
                    if cache.problem:
                        raise cache.problem
                    await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise Unavailable("the first look at its objects took too long") from error


def _trimmed(item: Json) -> Json:
    """Return an object without the longest part of it, which nobody here reads."""
    item["metadata"].pop("managedFields", None)
    return item
