"""Calls to an engine that answers in whatever way, on a Unix socket of the test's."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from longshore.core.errors import Unavailable
from longshore.plugins.engine import wire as wire_module
from longshore.plugins.engine.wire import EngineError, Wire, json_lines

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class World:
    """An engine, and the wire to it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.wire = Wire(socket)
        self.answer: Answer = self.nothing

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def asked(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request)

    def answers(self, text: str, status: int = 200) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(text=text, status=status)

        self.answer = answer


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "engine.sock")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", world.asked)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.UnixSite(runner, str(world.socket)).start()
    yield world
    await world.wire.close()
    await world.wire.close()
    await runner.cleanup()


async def test_what_is_answered_is_read(world: World) -> None:
    assert await world.wire.call("POST", "/x") is None
    world.answers('{"Id": "a"}')
    assert await world.wire.call("POST", "/x", params={"a": "b"}, body={}) == {"Id": "a"}


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (404, '{"cause": "x", "message": "no such image: y"}', "no such image: y"),
        (500, "plain words\n", "plain words"),
        (500, '["no", "object"]', '["no", "object"]'),
    ],
)
async def test_a_refusal_is_in_the_engines_words(
    world: World, status: int, said: str, message: str
) -> None:
    world.answers(said, status)
    with pytest.raises(EngineError) as caught:
        await world.wire.call("GET", "/x")
    assert (caught.value.status, caught.value.message) == (status, message)
    with pytest.raises(EngineError, match=re.escape(message)):
        async with world.wire.stream("GET", "/x", {}):
            pass


async def test_an_answer_that_is_no_json_is_an_error(world: World) -> None:
    world.answers("<html>")
    with pytest.raises(EngineError, match="the engine sent broken JSON"):
        await world.wire.call("GET", "/x")


async def test_an_answer_is_bounded_in_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "MOST_BYTES", 1 << 20)
    world.answers('"' + "x" * ((1 << 20) - 2) + '"')
    assert len(await world.wire.call("GET", "/x")) == (1 << 20) - 2
    world.answers('"' + "x" * (1 << 20) + '"')
    with pytest.raises(EngineError, match="the engine's answer is larger than 1 MiB"):
        await world.wire.call("GET", "/x")


async def test_an_answer_is_bounded_in_seconds(world: World) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return web.Response()

    world.answer = late
    with pytest.raises(Unavailable, match=r"does not answer: no answer within 0\.05 s"):
        await world.wire.call("GET", "/x", timeout=0.05)


async def test_where_nobody_listens_it_says_so(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "none.sock")
    with pytest.raises(Unavailable, match=r"none\.sock does not answer: ") as caught:
        await wire.call("GET", "/x")
    assert caught.value.hint
    await wire.close()


async def test_an_engine_that_dies_in_a_stream_is_unavailable(world: World) -> None:
    async def dies(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"one": 1}\n')
        assert request.transport
        request.transport.abort()
        return response

    world.answer = dies
    read = []

    async def follow() -> None:
        async with world.wire.stream("GET", "/events", {}) as pieces:
            async for said in json_lines(pieces):
                read.append(said)  # noqa: PERF401 - it ends in an error

    with pytest.raises(Unavailable):
        await follow()
    assert read == [{"one": 1}]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_lines_are_put_together_of_pieces() -> None:
    read = json_lines(pieces(b'{"a"', b': 1}\n\n{"b": 2}', b"\n3"))
    assert [each async for each in read] == [{"a": 1}, {"b": 2}, 3]


async def test_a_line_without_end_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "LONGEST_LINE", 1 << 20)
    with pytest.raises(EngineError, match="a line of more than 1 MiB"):
        _ = [each async for each in json_lines(pieces(b"x" * (1 << 19), b"x" * (1 << 20)))]


@pytest.mark.parametrize(
    ("status", "message", "gone", "stumbled", "conflicts"),
    [
        (404, "No such image", True, False, False),
        (500, "no such container: 1f", True, False, False),
        (500, "image not known", False, True, False),
        (0, "locating item named", False, False, False),
        (409, "name in use", False, False, True),
    ],
)
def test_what_a_refusal_means(
    *, status: int, message: str, gone: bool, stumbled: bool, conflicts: bool
) -> None:
    error = EngineError(status, message)
    assert (error.gone, error.stumbled, error.conflicts) == (gone, stumbled, conflicts)
