"""A cluster that has its objects in memory, for what is written to one and read of it."""

from collections.abc import Callable, Mapping
from typing import Any

from longshore.core.backends.hints import Hints
from longshore.plugins.kubernetes.client import FIELD_MANAGER, ApiError, Client
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import Json, Kind
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.watch import Cache

OWNER_ID = "ours"


async def nowhere() -> Any:
    raise AssertionError("there is no API server")


class MemoryApi(Client):
    """Has objects, and tells what was asked of it in ``asked``."""

    def __init__(self) -> None:
        super().__init__(nowhere, "models")
        self.objects: dict[str, Json] = {}
        self.asked: list[str] = []
        self.refuse: Callable[[str, str], Exception | None] = lambda method, path: None
        """Asked with method and path before anything is done."""

    def has(self, kind: Kind, name: str) -> bool:
        return self.path(kind, name) in self.objects

    def put(self, kind: Kind, name: str, **fields: Any) -> Json:
        item = {"metadata": {"name": name, **fields.pop("metadata", {})}, **fields}
        self.objects[self.path(kind, name)] = item
        return item

    def _ask(self, method: str, path: str) -> None:
        self.asked.append(f"{method} {path}")
        if problem := self.refuse(method, path):
            raise problem

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self._ask("GET", path)
        if path in self.objects:
            return self.objects[path]
        field, _, wanted = (query or {}).get("fieldSelector", "").partition("=")
        inside = [each for at, each in self.objects.items() if at.rpartition("/")[0] == path]
        if field == "metadata.name":
            inside = [each for each in inside if each["metadata"]["name"] == wanted]
        return {"items": inside}

    async def apply(self, kind: Kind, manifest: Json) -> Json:
        path = self.path(kind, manifest["metadata"]["name"])
        self._ask("APPLY", path)
        self.objects[path] = manifest
        return manifest

    async def patch(self, path: str, change: Json, manager: str = FIELD_MANAGER) -> Json:
        self._ask("PATCH", path)
        return {}

    async def create(self, kind: Kind, manifest: Json) -> Json:
        path = self.path(kind, manifest["metadata"]["name"])
        self._ask("CREATE", path)
        if path in self.objects:
            raise ApiError(409, "AlreadyExists", "it exists")
        self.objects[path] = manifest
        return manifest

    async def delete(self, kind: Kind, name: str, options: Json | None = None) -> None:
        path = self.path(kind, name)
        self._ask("DELETE", path)
        self.objects.pop(path, None)


class MemoryCache(Cache):
    """Has seen what it was told of, and was synced by then."""

    def __init__(self, client: Client, kind: Kind) -> None:
        super().__init__(client, kind, "", lambda: None)
        self.synced.set()

    def see(self, item: Json) -> None:
        self._objects[item["metadata"]["name"]] = item


def memory_cluster(*kinds: Kind, **settings: Any) -> tuple[MemoryApi, Cluster]:
    """Return a cluster with nothing in it, whose caches for these kinds have seen nothing."""
    api = MemoryApi()
    own = KubernetesSettings(namespace="models", **settings)
    caches = {kind: MemoryCache(api, kind) for kind in kinds}
    return api, Cluster(OWNER_ID, api, caches, Hints(), own, {})
