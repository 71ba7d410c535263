"""The way to the replicas: one exchange of a request for an answer, under the version's limits.

A request is sent again, to another replica, only if nothing of it had been sent: the connection
was refused or never came about. Whatever left is never repeated, whichever method it has.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from longshore.core.types import Limits
from longshore.router import ejection
from longshore.router.admission import Slot
from longshore.router.connector import Connector
from longshore.router.errors import ReplicaFailed, RequestError, TimedOut
from longshore.router.headers import RawHeaders
from longshore.router.waiting import elsewhere

IDLE = 2.0
"""Seconds that an idle connection is kept; many model servers close theirs after five, and a
request that meets such an end is lost."""

MOST_HEADER_BYTES = 64 * 1024
MOST_HEADERS = 512
_NO_STATUS = 600
_PIECE = 256 * 1024

# Headers that aiohttp would add on its own.
_UNASKED = ("accept", "accept-encoding", "content-type", "user-agent")

_SWITCHING = 101

Body = bytes | AsyncIterator[bytes] | None

HeadersFor = Callable[[str], RawHeaders]
"""Makes a request's headers for the address of a replica."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way to a replica."""

    method: str
    target: str
    """Path and query, percent-encoded as they should arrive."""
    headers: HeadersFor
    body: Body = None
    switches: bool = False
    """Whether it offers to go on in another protocol."""


@dataclass(frozen=True, slots=True)
class Switched:
    """A connection to a replica that goes on in another protocol."""

    transport: asyncio.Transport
    early: bytes
    """What the replica has said in it already."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose head has come; its body is read piece by piece."""

    status: int
    headers: RawHeaders
    """Names in lowercase; order and duplicates as sent."""
    body: aiohttp.StreamReader
    switched: Switched | None = None
    """The connection, if the replica took the offer to switch; there is no body then."""


class Upstream:
    """Connections to replicas; use it as a context manager while the server runs."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold connections open for reuse while the context is open."""
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_start_clock)
        async with aiohttp.ClientSession(
            connector=Connector(keep=IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_UNASKED,
            middlewares=(_never_again,),
            trace_configs=[trace],
            max_line_size=MOST_HEADER_BYTES,
            max_field_size=MOST_HEADER_BYTES,
            max_headers=MOST_HEADERS,
        ) as self._session:
            yield
        self._session = None

    @asynccontextmanager
    async def exchange(
        self, slot: Slot, request: Outgoing, *, patient: bool = True
    ) -> AsyncIterator[Answer]:
        """Send a request to the slot's replica and give its answer, to be read in the context.

        Leaving the context before the answer's end closes the connection. Where the replica
        switched protocols, the limit on the whole exchange ends with its answer's head.

        Args:
            slot: where to; it may move to another replica as long as nothing was sent.
            request: what to send.
            patient: wait for another replica where none takes the connection.

        Raises:
            TimedOut: one of the version's limits was reached.
            ReplicaFailed: the replica gave no complete answer; also while its body is read.
        """
        limits = slot.version.route.version.spec.limits
        try:
            async with asyncio.timeout(limits.total) as total:
                response = await self._begin(slot, request, limits, total, patient=patient)
                try:
                    connection = response.connection
                    protocol = connection.protocol if connection else None
                    if request.switches and response.status == _SWITCHING:
                        total.reschedule(None)
                        yield _switched(slot, response, protocol)
                        return
                    yield _answer(slot, response)
                    _check_end(response, protocol)
                    ejection.answered(slot.replica)
                finally:
                    response.close()
        except TimeoutError as error:
            if not total.expired():
                raise
            raise TimedOut(slot.version.key, "total", limits.total) from error
        except (aiohttp.ClientError, _Severed) as error:
            raise _failed(slot, "died in the middle of its answer", error) from error

    async def _begin(
        self,
        slot: Slot,
        request: Outgoing,
        limits: Limits,
        total: asyncio.Timeout,
        *,
        patient: bool,
    ) -> ClientResponse:
        came = slot.held.since if slot.held else slot.table.clock()
        while True:
            try:
                return await self._send(slot, request, limits)
            except _NotSent as error:
                if slot.move():
                    continue
                if not patient:
                    raise error.told from error.__cause__
                # Those that are gone may stay in the table for a while, where their engine or the
                # controller is away. Waiting is no part of the exchange.
                total.reschedule(None)
                await elsewhere(slot, error.told, came)
                total.reschedule(asyncio.get_running_loop().time() + limits.total)

    async def _send(self, slot: Slot, request: Outgoing, limits: Limits) -> ClientResponse:
        assert self._session is not None  # noqa: S101 - requests come only while it runs
        address = str(slot.replica.endpoint.address)
        first_byte = asyncio.timeout(None)
        clock = _Clock(first_byte, limits.first_byte)
        try:
            async with first_byte:
                return await self._session.request(
                    request.method,
                    URL(f"http://{address}{request.target}", encoded=True),
                    headers=[(header_text(n), header_text(v)) for n, v in request.headers(address)],
                    data=clock.around(request.body),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
                    trace_request_ctx=clock,
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise _NotSent(TimedOut(slot.version.key, "connect", limits.connect)) from error
        except aiohttp.ClientConnectorError as error:
            told = _failed(slot, "refused the connection", error, sent=False)
            raise _NotSent(told) from error
        except TimeoutError as error:
            slot.failed()
            raise TimedOut(slot.version.key, "first byte", limits.first_byte) from error
        except aiohttp.ClientResponseError as error:
            raise _failed(slot, "answered something that is not HTTP", error) from error
        except (aiohttp.ClientError, _Severed) as error:
            raise _failed(slot, "died before its answer", error) from error
        finally:
            clock.stop()


async def in_pieces(body: bytes | bytearray) -> AsyncIterator[bytes]:
    """Yield a body that is held whole in pieces that can be sent one by one."""
    for start in range(0, len(body), _PIECE):
        yield bytes(body[start : start + _PIECE])


class _Clock:
    """The time-out for the answer's first byte: it runs from the request's last byte on."""

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        self._timeout: asyncio.Timeout | None = timeout
        self._seconds = seconds

    def start(self) -> None:
        self._set(asyncio.get_running_loop().time() + self._seconds)

    def stop(self) -> None:
        # An early answer can come while the body is still being sent.
        self._timeout = None

    def around(self, body: Body) -> Body:
        """Return the body so that reading it to its end starts the clock."""
        return self._watched(body) if isinstance(body, AsyncIterator) else body

    async def _watched(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._set(None)
        async for piece in body:
            yield piece
        self.start()

    def _set(self, when: float | None) -> None:
        if self._timeout:
            self._timeout.reschedule(when)


class _NotSent(Exception):
    """Nothing of the request was sent, so that it may go to another replica."""

    def __init__(self, told: RequestError) -> None:
        super().__init__(told.message)
        self.told = told


class _Severed(Exception):
    """The connection ended too early."""


async def _never_again(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from its habit of sending idempotent requests twice.

    It repeats them when a kept connection ends without an answer, whatever the server did until
    then; errors that are not its own it lets pass.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Severed(str(error)) from error


async def _start_clock(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _sent: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    clock: _Clock = context.trace_request_ctx
    clock.start()


def _answer(slot: Slot, response: ClientResponse) -> Answer:
    if not HTTPStatus.OK <= response.status < _NO_STATUS:
        # It did not ask for an upgrade, and what is beyond is no status.
        told = f"answered with status {response.status}"
        raise _failed(slot, told)
    headers = [(name.lower(), value) for name, value in response.raw_headers]
    return Answer(response.status, headers, response.content)


def _switched(slot: Slot, response: ClientResponse, protocol: ResponseHandler | None) -> Answer:
    """Take the connection from aiohttp, which has parsed the answer's head."""
    # An empty protocol counts as false.
    transport = protocol.transport if protocol is not None else None
    if protocol is None or transport is None or not protocol.upgraded:
        raise _failed(slot, "switched protocols without saying to which")
    early = _Early()
    protocol.set_parser(early, early)
    headers = [(name.lower(), value) for name, value in response.raw_headers]
    return Answer(
        response.status, headers, response.content, Switched(transport, bytes(early.data))
    )


class _Early:
    """Takes from aiohttp what came behind a head; it would hand that to its WebSocket reader."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def _check_end(response: ClientResponse, protocol: ResponseHandler | None) -> None:
    """Tell a reset from the end of an answer that ends with its connection.

    Raises:
        _Severed: it was reset.
    """
    headers = response.headers
    framed = aiohttp.hdrs.CONTENT_LENGTH in headers or aiohttp.hdrs.TRANSFER_ENCODING in headers
    # An empty protocol counts as false.
    error = None if framed or protocol is None else protocol.exception()
    if isinstance(error, aiohttp.ClientOSError):
        raise _Severed(str(error)) from error


def _failed(
    slot: Slot, what: str, error: Exception | None = None, *, sent: bool = True
) -> ReplicaFailed:
    """Note that the replica failed, and return the error that tells it."""
    slot.failed()
    why = f": {error}" if error and str(error) else ""
    return ReplicaFailed(slot.version.key, slot.replica.endpoint.replica, what + why, sent=sent)


def header_text(raw: bytes) -> str:
    """Return a header as aiohttp takes it, which then writes it as UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
