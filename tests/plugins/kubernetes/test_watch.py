"""The cache against an API server that does everything that a real one may do, on demand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from longshore.plugins.kubernetes import watch
from longshore.plugins.kubernetes.client import Client
from longshore.plugins.kubernetes.kinds import POD
from longshore.plugins.kubernetes.watch import Cache


def pod(name: str, version: int, **fields: object) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), **fields}}


@dataclass
class Server:
    """What it has, and what it tells those who watch."""

    items: list[dict[str, Any]] = field(default_factory=list)
    version: int = 1
    lists: int = 0
    watches: list[dict[str, str]] = field(default_factory=list)
    refuse_watches: int = 0
    """Status with which the next watches are refused."""
    refusals: int = 1
    """How many watches that are."""
    streams: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    """What the watch that is open sends next; None ends it."""
    port: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return self._list(request)
        self.watches.append(dict(request.query))
        if self.refuse_watches:
            status, self.refusals = self.refuse_watches, self.refusals - 1
            if not self.refusals:
                self.refuse_watches, self.refusals = 0, 1
            return web.json_response({"reason": "Expired", "message": "too old"}, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        while (piece := await self.streams.get()) is not None:
            await response.write(piece)
        return response

    def _list(self, request: web.Request) -> web.Response:
        self.lists += 1
        begin, size = int(request.query.get("continue", "0")), int(request.query["limit"])
        metadata: dict[str, str] = {"resourceVersion": str(self.version)}
        if begin + size < len(self.items):
            metadata["continue"] = str(begin + size)
        return web.json_response({"metadata": metadata, "items": self.items[begin : begin + size]})

    def tell(self, what: str, item: dict[str, Any]) -> None:
        self.streams.put_nowait(json.dumps({"type": what, "object": item}).encode() + b"\n")


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", server.port)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass
class World:
    server: Server
    cache: Cache
    changes: list[None]

    def names(self) -> list[str]:
        return sorted(each["metadata"]["name"] for each in self.cache.all())

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - there is no event for what the server saw
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(watch, "SHORTEST_PAUSE", 0.01)
    server = Server(items=[pod("a", 1), pod("b", 1)])
    async with serving(server):

        async def load() -> Any:
            return ApiClient(Configuration(host=f"http://127.0.0.1:{server.port}"))

        client, changes = Client(load, "n"), list[None]()
        cache = Cache(client, POD, "app=x", lambda: changes.append(None))
        task = asyncio.create_task(cache.run())
        yield World(server, cache, changes)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.streams.put_nowait(None)
        await client.close()


async def test_it_lists_once_and_follows(world: World) -> None:
    await world.until(lambda: world.names() == ["a", "b"])
    server = world.server
    server.tell("ADDED", pod("c", 2))
    server.tell("MODIFIED", pod("a", 3, labels={"x": "y"}))
    server.tell("DELETED", pod("b", 4))
    await world.until(lambda: world.names() == ["a", "c"])
    assert (world.cache.get("a") or {})["metadata"]["labels"] == {"x": "y"}
    assert server.lists == 1
    assert server.watches[0]["labelSelector"] == "app=x"
    assert server.watches[0]["resourceVersion"] == "1"
    assert server.watches[0]["allowWatchBookmarks"] == "true"
    assert len(world.changes) >= 4


async def test_a_watch_that_ends_goes_on_after_the_last_bookmark(world: World) -> None:
    await world.until(lambda: world.server.watches)
    before = len(world.changes)
    world.server.tell("BOOKMARK", pod("", 7))
    world.server.streams.put_nowait(None)
    await world.until(lambda: len(world.server.watches) == 2)
    assert world.server.watches[1]["resourceVersion"] == "7"
    assert world.server.lists == 1
    assert len(world.changes) == before, "a bookmark is no change"


@pytest.mark.parametrize("how", ["refused", "told"])
async def test_a_history_that_is_gone_is_listed_again(world: World, how: str) -> None:
    await world.until(lambda: world.server.watches)
    server = world.server
    server.items, server.version = [pod("c", 9)], 9
    if how == "refused":
        server.refuse_watches = 410
        server.streams.put_nowait(None)
    else:
        server.tell("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
    await world.until(lambda: world.names() == ["c"])
    await world.until(lambda: world.server.watches[-1]["resourceVersion"] == "9")
    assert server.lists == 2
    assert world.cache.problem is None
    # The connection that was left ends unread.
    server.streams.put_nowait(None)


async def test_a_line_that_is_cut_off_is_no_change(world: World) -> None:
    await world.until(lambda: world.server.watches)
    world.server.streams.put_nowait(b'{"type": "ADDED", "object": {"metad')
    world.server.streams.put_nowait(None)
    await world.until(lambda: len(world.server.watches) == 2)
    assert world.names() == ["a", "b"]
    assert world.server.watches[1]["resourceVersion"] == "1"


async def test_many_are_listed_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.until(lambda: world.server.watches)
    monkeypatch.setattr(watch, "PAGE", 2)
    server = world.server
    server.items = [pod(str(number), 1) for number in range(5)]
    server.tell("ERROR", {"code": 410})
    await world.until(lambda: len(world.names()) == 5)
    assert server.lists == 4
    server.streams.put_nowait(None)


async def test_what_it_knows_stays_while_nobody_answers(world: World) -> None:
    await world.until(lambda: world.server.watches)
    world.server.refuse_watches = 503
    world.server.streams.put_nowait(None)
    await world.until(lambda: world.cache.problem)
    assert world.names() == ["a", "b"]
    await world.until(lambda: world.cache.problem is None)
    assert world.server.lists == 1


async def test_a_problem_stays_until_the_watch_is_there(world: World) -> None:
    await world.until(lambda: world.server.watches)
    world.server.refuse_watches, world.server.refusals = 503, 4
    world.server.streams.put_nowait(None)
    await world.until(lambda: world.cache.problem)
    before = len(world.changes)
    await world.until(lambda: len(world.server.watches) == 5)
    assert len(world.changes) == before, "to try again is no news"
    await world.until(lambda: world.cache.problem is None)
    assert len(world.changes) == before + 1


async def test_rights_that_are_missing_are_told_and_can_be_given(world: World) -> None:
    await world.until(lambda: world.server.watches)
    world.server.refuse_watches = 403
    world.server.streams.put_nowait(None)
    await world.until(lambda: world.cache.problem)
    assert world.cache.problem
    assert world.cache.problem.message == "pods cannot be watched: too old"
    await world.until(lambda: world.cache.problem is None)
    assert world.names() == ["a", "b"]


async def test_what_it_cannot_make_sense_of_does_not_end_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.until(lambda: world.server.watches)
    world.server.tell("ADDED", {"no": "metadata"})
    await world.until(lambda: world.server.lists == 2)
    assert "pods: the watch tripped" in caplog.text
    await world.until(lambda: world.cache.problem is None)
    # The connection that was left ends unread.
    world.server.streams.put_nowait(None)
    world.server.tell("ADDED", pod("c", 2))
    await world.until(lambda: world.names() == ["a", "b", "c"])


async def test_a_call_whose_connections_are_closed_under_it_goes_on_with_the_new_ones() -> None:
    """As when another one finds that credentials have expired, and reads them anew."""
    server = Server(items=[pod("a", 1)])
    async with serving(server):
        at = Configuration(host=f"http://127.0.0.1:{server.port}")
        made: list[ApiClient] = []

        class Closed(ApiClient):
            async def param_serialize(self, *args: Any, **more: Any) -> Any:
                if session := self.rest_client.pool_manager:
                    await client.close()
                    # The library makes another one if asked now, but this call has it already.
                    self.rest_client.pool_manager = session
                return await super().param_serialize(*args, **more)

        async def load() -> Any:
            made.append(ApiClient(at) if made else Closed(at))
            return made[-1]

        client = Client(load, "n")
        await client.get(client.path(POD), {"limit": "1"})
        answer = await client.get(client.path(POD), {"limit": "1"})
        assert [each["metadata"]["name"] for each in answer["items"]] == ["a"]
        assert len(made) == 2
        await client.close()
