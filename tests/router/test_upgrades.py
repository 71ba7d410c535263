"""WebSockets and other upgrades on raw/, with a real WebSocket library at both ends."""

import asyncio
import contextlib
import http
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from parts.replica import Exchange, Replica
from parts.routed import Routed, model_route, route, routed, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response

from longshore.router.edge import watch

KEY = route().version.key
PATH = "/v1/models/iris/versions/1/raw/chat?room=1"

UPGRADE = (
    f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: mirror\r\n\r\n"
).encode()

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mirror\r\n\r\n"

Handler = Callable[[ServerConnection], Awaitable[None]]


async def mirror(connection: ServerConnection) -> None:
    """Send every message back."""
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def websockets_at(
    router: Routed, handler: Handler = mirror, limits: dict[str, float] | None = None, **how: Any
) -> AsyncIterator[None]:
    """Route version 1 of iris to a WebSocket server."""
    async with serve(handler, "127.0.0.1", 0, max_size=None, **how) as server:
        port = server.sockets[0].getsockname()[1]
        await router.table.update(model_route(route(Replica(port=port), limits=limits)))
        yield


def client_of(router: Routed, **how: Any) -> connect:
    """Return a client's connection through the router, to be opened."""
    address = f"ws://127.0.0.1:{router.port}{PATH}"
    return connect(address, max_size=None, proxy=None, **how)


def in_flight(router: Routed) -> int:
    return router.table.load(KEY).in_flight


async def test_messages_of_all_kinds_and_sizes(router: Routed) -> None:
    async with websockets_at(router), client_of(router) as client:
        for message in ("text, é", b"\x00\xff", "", b"", b"x" * (10 << 20)):
            await client.send(message)
            assert await client.recv() == message
        await (await client.ping(b"are you there?"))
        assert in_flight(router) == 1
    assert await until(lambda: not in_flight(router))


async def test_pings_of_the_server_reach_the_client(router: Routed) -> None:
    async def pings(connection: ServerConnection) -> None:
        await (await connection.ping())
        await connection.send("it answered")

    async with websockets_at(router, pings), client_of(router) as client:
        assert await client.recv() == "it answered"


async def test_what_both_sides_hear_of_the_request(router: Routed) -> None:
    seen: list[Request] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request
        seen.append(connection.request)
        await mirror(connection)

    headers = {"x-request-id": "mine", "x-own": "1"}
    async with (
        websockets_at(router, note),
        client_of(router, additional_headers=headers) as client,
    ):
        answer = client.response
        assert answer
        assert answer.headers["x-longshore-version"] == "iris:1"
        assert answer.headers["x-request-id"] == "mine"
        assert await until(lambda: seen)
    assert seen[0].path == "/chat?room=1"
    assert seen[0].headers["x-own"] == "1"
    assert seen[0].headers["x-forwarded-for"] == "127.0.0.1"
    assert seen[0].headers["x-forwarded-host"] == f"127.0.0.1:{router.port}"


async def test_subprotocols(router: Routed) -> None:
    async with (
        websockets_at(router, subprotocols=["b", "c"]),
        client_of(router, subprotocols=["a", "b"]) as client,
    ):
        assert client.subprotocol == "b"


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_close_codes_go_both_ways(router: Routed, code: int) -> None:
    closed = []

    async def closes(connection: ServerConnection) -> None:
        if await connection.recv() == "close":
            await connection.close(code, "server's reason")
        else:
            with contextlib.suppress(ConnectionClosed):
                await connection.recv()
            closed.append((connection.close_code, connection.close_reason))

    async with websockets_at(router, closes):
        async with client_of(router) as client:
            await client.send("close")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (code, "server's reason")
        async with client_of(router) as client:
            await client.send("let me")
            await client.close(code, "client's reason")
        assert await until(lambda: closed == [(code, "client's reason")])


async def test_a_replica_that_refuses(router: Routed) -> None:
    async def refuse(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(http.HTTPStatus.FORBIDDEN, "members only\n")

    async with websockets_at(router, process_request=refuse):
        with pytest.raises(InvalidStatus) as caught:
            await client_of(router)
        answer = caught.value.response
        assert (answer.status_code, answer.body) == (403, b"members only\n")
        assert answer.headers["x-longshore-version"] == "iris:1"
    assert await until(lambda: not in_flight(router))


async def test_a_replica_that_knows_no_upgrade_just_answers(router: Routed) -> None:
    replica = await router.serving()
    reader, writer = await router.raw(UPGRADE)
    for _ in range(2):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection" not in head.lower()
        writer.write(UPGRADE)
    assert replica.last.header("upgrade") == "mirror"
    assert replica.last.header("connection") == "Upgrade"


async def test_a_replica_that_switches_without_a_word_to_what(router: Routed) -> None:
    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    await router.serving(switch)
    reader, _ = await router.raw(UPGRADE)
    assert (await reader.readline()).startswith(b"HTTP/1.1 502")


async def test_a_version_without_replicas(router: Routed) -> None:
    await router.table.update(model_route(route()))
    with pytest.raises(InvalidStatus) as caught:
        await client_of(router)
    assert caught.value.response.status_code == 503


async def test_a_replica_that_dies(router: Routed) -> None:
    async def die(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async with websockets_at(router, die), client_of(router) as client:
        await client.send("die")
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert await until(lambda: not in_flight(router))


async def test_a_client_that_dies(router: Routed) -> None:
    ended = asyncio.Event()

    async def listen(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await mirror(connection)
        ended.set()

    async with websockets_at(router, listen):
        client = await client_of(router)
        client.transport.abort()
        await asyncio.wait_for(ended.wait(), 10)
        assert await until(lambda: not in_flight(router))


async def test_a_client_that_leaves_before_the_switch(router: Routed) -> None:
    left = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        await exchange.until_left()
        left.set()

    replica = await router.serving(never)
    _, writer = await router.raw(UPGRADE)
    assert await until(lambda: replica.requests)
    writer.close()
    await asyncio.wait_for(left.wait(), 10)
    assert await until(lambda: not in_flight(router))


async def switches(exchange: Exchange) -> None:
    """Switch to a protocol in which all bytes are sent back."""
    await exchange.send(SWITCH)
    while data := await exchange.reader.read(1 << 16):
        await exchange.send(data)


async def test_another_protocol_and_what_came_right_behind_the_heads(router: Routed) -> None:
    async def at_once(exchange: Exchange) -> None:
        await exchange.send(SWITCH + b"me first")
        await exchange.send(await exchange.reader.readexactly(5))

    await router.serving(at_once)
    reader, _ = await router.raw(UPGRADE + b"early")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"\r\nupgrade: mirror\r\n" in head.lower()
    assert await reader.readexactly(13) == b"me firstearly"


async def test_an_open_tunnel_takes_a_place_on_its_replica(router: Routed) -> None:
    await router.serving(switches, limits={"concurrency": 1})
    reader, writer = await router.raw(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    assert (await router.predict()).status_code == 503
    writer.close()
    assert await until(lambda: not in_flight(router))


async def test_metrics_count_the_request_once(router: Routed) -> None:
    await router.serving(switches)
    reader, writer = await router.raw(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(2):
        metrics = (await router.http.get("/metrics")).text
        assert 'longshore_requests_total{model="iris",status="1xx",version="1"} 1.0' in metrics
        writer.close()
        assert await until(lambda: not in_flight(router))
    assert 'status="aborted"' not in metrics


async def test_back_pressure_both_ways(router: Routed) -> None:
    go = asyncio.Event()

    async def patient(exchange: Exchange) -> None:
        await exchange.send(SWITCH)
        await go.wait()
        while data := await exchange.reader.read(1 << 18):
            await exchange.send(data)

    size = 64 << 20
    await router.serving(patient)
    reader, writer = await router.raw(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    sent = 0

    async def push() -> None:
        nonlocal sent
        while sent < size:
            writer.write(bytes(1 << 18))
            await writer.drain()
            sent += 1 << 18

    pushing = asyncio.create_task(push())
    # A replica that does not read, and then a client that does not.
    for _ in range(2):
        before = -1
        while before < sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 48 << 20, "only kernel buffers may hold more"
        go.set()
    received = 0
    while received < size:
        received += len(await reader.read(1 << 18))
    await pushing


async def test_foreign_web_pages_are_kept_out(router: Routed) -> None:
    async with websockets_at(router):
        with pytest.raises(InvalidStatus) as caught:
            await client_of(router, origin="http://evil.example")
        assert caught.value.response.status_code == 403
        async with client_of(router, origin=router.url):
            pass


@pytest.mark.parametrize("limit", ["tunnel_idle", "tunnel_total"])
async def test_tunnels_have_limits_of_their_own(
    state: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.05)
    others = {"keep_alive": 0.2, "answer_timeout": 0.2, "body_timeout": 0.2, "head_timeout": 0.2}
    async with routed(state, **{limit: 1}, **others) as router:
        limits = {"total": 0.3, "first_byte": 0.3}
        async with websockets_at(router, limits=limits), client_of(router) as client:
            begun = asyncio.get_running_loop().time()
            for number in range(4):
                await asyncio.sleep(0.4)
                if limit == "tunnel_idle":
                    await client.send(str(number))
                    assert await client.recv() == str(number)
            with pytest.raises(ConnectionClosedError):
                await asyncio.wait_for(client.recv(), 10)
            lasted = asyncio.get_running_loop().time() - begun
            assert (lasted > 2) == (limit == "tunnel_idle"), "only silence counts"


async def test_at_the_end_tunnels_get_the_grace(state: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        client: ClientConnection
        async with routed(state) as router:
            await stack.enter_async_context(websockets_at(router))
            client = await stack.enter_async_context(client_of(router))
            closing = asyncio.create_task(client.wait_closed())
            begun = asyncio.get_running_loop().time()
        await asyncio.wait_for(closing, 10)
        assert asyncio.get_running_loop().time() - begun >= 1.5, "two seconds in these tests"


async def test_a_thousand_open_tunnels_take_little_memory(router: Routed) -> None:
    await router.serving(switches, limits={"concurrency": 2000})
    await _open_tunnel(router)
    before = resident()
    tunnels = [await _open_tunnel(router) for _ in range(1000)]
    assert in_flight(router) == 1001
    each = (resident() - before) / 1000
    print(f"{each / 1024:.0f} KiB each")
    assert each < 150 << 10, f"{each / 1024:.0f} KiB each, and that includes client and replica"
    for reader, writer in tunnels:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
    for _, writer in tunnels:
        writer.close()
    assert await until(lambda: in_flight(router) == 1, 20)


async def _open_tunnel(router: Routed) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await router.raw(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def resident() -> int:
    """Return this process's memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
