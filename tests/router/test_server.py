"""Listening: ports, refusals, and an end that lets requests finish."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from parts.replica import Exchange, Replica
from parts.routed import Routed, model_route, route, routed, until

from longshore.core.errors import StartRefused
from longshore.router.server import serve

GET = b"GET /v1/models/iris/versions/1/raw/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_free_port_is_taken_and_told() -> None:
    async with serve(FastAPI(), "127.0.0.1", 0) as first, serve(FastAPI(), "127.0.0.1", 0) as other:
        assert first.port != other.port
        async with httpx.AsyncClient(trust_env=False) as http:
            for address in (first, other):
                assert (await http.get(f"http://{address}/docs")).status_code == 200


async def test_localhost_means_all_its_addresses() -> None:
    async with serve(FastAPI(), "localhost", 0) as address:
        _, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.close()


async def test_a_taken_port_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartRefused, match=f"port {port} on 127.0.0.1 is taken") as caught:
            async with serve(FastAPI(), "127.0.0.1", port):
                pass
        assert "--port" in caught.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(StartRefused, match="cannot listen on"):
        async with serve(FastAPI(), host, 0):
            pass


async def test_signals_are_left_to_the_caller() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with serve(FastAPI(), "127.0.0.1", 0):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_requests_in_flight_finish_and_new_ones_are_refused(state: Path) -> None:
    go = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.read_body()
        await go.wait()
        await exchange.answer(b"finished")

    async with Replica(waits).running() as replica:
        async with routed(state) as router:
            await router.table.update(model_route(route(replica)))
            reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
            writer.write(GET)
            assert await until(lambda: replica.requests)
            asyncio.get_running_loop().call_later(0.5, go.set)
        assert (await asyncio.wait_for(reader.read(), 1)).endswith(b"finished")
        writer.close()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncio.open_connection("127.0.0.1", router.port)


async def test_requests_that_do_not_finish_are_cut_off_after_the_grace(state: Path) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.until_left()

    async with Replica(never).running() as replica:
        begun = asyncio.get_running_loop().time()
        async with routed(state) as router:
            await router.table.update(model_route(route(replica)))
            reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
            writer.write(GET)
            assert await until(lambda: replica.requests)
        assert asyncio.get_running_loop().time() - begun < 5
        assert b"200" not in await asyncio.wait_for(reader.read(), 1)
        writer.close()
        assert await until(lambda: not replica.open)


def test_the_application_can_be_served_again(state: Path) -> None:
    async def once() -> int:
        async with routed(state) as router:
            await _answers(router)
            return router.port

    assert asyncio.run(once())
    assert asyncio.run(once())


async def _answers(router: Routed) -> None:
    await router.serving()
    assert (await router.predict(b"x")).content == b"x"
