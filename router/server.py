"""Listening: runs the application under uvicorn inside the caller's event loop."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from functools import partial
from typing import Protocol, cast

import uvicorn
from fastapi import FastAPI

from longshore.core.errors import StartRefused
from longshore.core.settings import Settings
from longshore.core.types import Address
from longshore.router.lane.protocol import LaneProtocol
from longshore.router.openapi import DocumentedApp

LINGER = 1.0
"""Seconds that an idle client connection is kept open where others take over: whoever sends a
request meanwhile gets an answer, and is told to connect anew."""

BACKLOG = 2048

GRACE = Settings.model_fields["grace"].default


class Accepting(Protocol):
    """What takes connections from a listening socket, as far as uvicorn knows it."""

    def close(self) -> None:
        """Accept no more."""

    async def wait_closed(self) -> None:
        """Wait until that is so."""


Acceptor = Callable[
    [asyncio.AbstractEventLoop, socket.socket, Callable[[], asyncio.Protocol], Sized], Accepting
]
"""From the event loop, a listening socket, what makes protocols, and the connections there are."""


@contextlib.asynccontextmanager
async def serve(
    app: FastAPI, host: str, port: int, *, grace: int = GRACE, lingers: bool = False
) -> AsyncIterator[Address]:
    """Listen while the context is open, and give the address; signals are the caller's.

    On leaving, no connection is accepted any more, and requests in flight get ``grace`` seconds.

    Args:
        app: what to serve.
        host: name or address to listen on.
        port: 0 for any free one; the address tells which.
        grace: seconds.
        lingers: idle connections linger on leaving, for their next requests find somebody else.

    Raises:
        StartRefused: nobody can listen there.
    """
    sockets = await bind(host, port)
    async with serve_on(app, sockets, grace=grace, lingers=lingers):
        yield Address(host=host, port=sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def serve_on(
    app: FastAPI,
    sockets: list[socket.socket],
    *,
    grace: int = GRACE,
    acceptor: Acceptor | None = None,
    lingers: bool = False,
) -> AsyncIterator[None]:
    """Serve on sockets that listen already, as ``serve`` does, and close them in the end.

    Args:
        app: what to serve.
        sockets: bound, listening, non-blocking.
        grace: seconds.
        acceptor: takes connections from a socket that others accept on, too; idle connections then
            linger, as with ``lingers``.
        lingers: as with ``serve``.
    """
    lingers = lingers or acceptor is not None
    lane, watch = (app.lane, app.watch) if isinstance(app, DocumentedApp) else (None, None)
    protocol = partial(LaneProtocol, lane, watch) if lane and watch else "httptools"
    config = uvicorn.Config(
        app,
        # uvicorn only ever calls it, with keywords.
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        # Run here instead, where a failure is an exception rather than an exit.
        lifespan="off",
        access_log=False,
        server_header=False,
        # The headers of proxies before us are passed on, not believed.
        proxy_headers=False,
        log_config=None,
        # What goes wrong is logged by the application, with the request's id.
        log_level="critical",
        backlog=BACKLOG,
        timeout_graceful_shutdown=grace,
    )
    config.load()
    server = _Server(config, acceptor, lingers=lingers)
    if lane:
        lane.lingers = lingers
        lane.open(asyncio.get_running_loop())
    async with (
        app.router.lifespan_context(app),
        watch.running() if watch else contextlib.nullcontext(),
    ):
        running = asyncio.create_task(server.serve(sockets), name="http server")
        try:
            await server.listening.wait()
            yield
        finally:
            server.should_exit = True
            if acceptor:
                server.stop_accepting()
            await running
            if lane:
                lane.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, acceptor: Acceptor | None, *, lingers: bool) -> None:
        super().__init__(config)
        self._acceptor = acceptor
        self._lingers = lingers
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn makes a server of the event loop for each socket it gets.
        await super().startup([] if self._acceptor else sockets)
        if self._acceptor:
            loop, connections = asyncio.get_running_loop(), self.server_state.connections
            accepting = [
                self._acceptor(loop, each, self._protocol, connections) for each in sockets or ()
            ]
            self.servers = cast("list[asyncio.base_events.Server]", accepting)
        self.listening.set()

    def stop_accepting(self) -> None:
        for each in self.servers:
            each.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        lingering = asyncio.create_task(self._close_idle()) if self._lingers else None
        try:
            await super().shutdown(sockets)
        finally:
            if lingering:
                lingering.cancel()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg] # as uvicorn does it
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _close_idle(self) -> None:
        """Close the connections that stay idle, once those who meant to send had their time."""
        ends = asyncio.get_running_loop().time() + LINGER
        while True:
            over = asyncio.get_running_loop().time() >= ends
            for each in list(self.server_state.connections):
                if isinstance(each, LaneProtocol):
                    each.linger(over=over)
            await asyncio.sleep(0.1)


async def bind(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host name, all on the same port.

    Raises:
        StartRefused: nobody can listen there.
    """
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, _, _, _, address in await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            actual = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(_listener(family, str(address[0]), actual))
            except OSError as error:
                # "localhost" has an IPv6 address even where the machine has none.
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                absent = error
        if absent and not bound:
            raise absent
    except OSError as error:
        for listener in bound:
            listener.close()
        raise _refusal(host, port, error) from error
    return bound


def _listener(family: int, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        # Two that start at once can both bind; only one of them can listen.
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(host: str, port: int, error: OSError) -> StartRefused:
    if error.errno == errno.EADDRINUSE:
        return StartRefused(
            f"port {port} on {host} is taken by another program",
            hint=f"See which: ss -ltnp 'sport = :{port}'. Stop it, or choose another port: --port",
        )
    if error.errno == errno.EACCES:
        return StartRefused(
            f"port {port} needs rights that this user does not have",
            hint="Choose a port above 1023: --port",
        )
    return StartRefused(
        f"cannot listen on {host}: {error.strerror or error}",
        hint="Choose an address of this machine: --host 127.0.0.1",
    )
