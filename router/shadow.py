"""Shadows: a version gets copies of the requests that others answer, and no caller notices.

A copy is collected while its request is passed on to the version that answers, piece by piece, and
is sent once the whole has come; a request that breaks off is never copied in part. Sending it and
reading its answer, which is dropped, is a task of its own that no caller waits for. Everything is
bounded: a copy beyond a bound is dropped and counted, and what others hold goes on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from longshore.core.background import Tasks
from longshore.core.errors import LongshoreError
from longshore.router.admission import Slot
from longshore.router.headers import SHADOW
from longshore.router.meter import Meter
from longshore.router.problems import problem_of
from longshore.router.relay import ABORTED
from longshore.router.routed import RoutedVersion
from longshore.router.table import Table
from longshore.router.upstream import Body, HeadersFor, Outgoing, Upstream, in_pieces

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one router spends on copies, beyond which they are dropped."""

    body: int = 16 * 2**20
    """Bytes of one body."""
    copies: int = 128
    """Copies on their way to one version."""
    size: int = 32 * 2**20
    """Bytes of the bodies that are held for one version, so that one that hangs stops no other."""
    all_copies: int = 512
    """Copies on their way."""
    all_size: int = 128 * 2**20
    """Bytes of the bodies that are held."""


class Shadows:
    """All copies of one router; use it as a context manager while the server runs.

    Args:
        table: knows the versions and their shadows.
        upstream: the way there.
        bounds: other ones in tests.
    """

    def __init__(self, table: Table, upstream: Upstream, bounds: Bounds | None = None) -> None:
        self.table = table
        self.upstream = upstream
        self.bounds = bounds or Bounds()
        self.size = 0
        """Bytes of the bodies that are held."""
        self._tasks = Tasks()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Copy while the context is open; on leaving, cut off what is on its way."""
        try:
            yield
        finally:
            await self._tasks.end()

    def copy(self, primary: RoutedVersion, target: Callable[[RoutedVersion], str]) -> "Copy | None":
        """Begin the copy of a request; return None where the traffic rule asks for none.

        Args:
            primary: the version that the traffic rule chose to answer it.
            target: gives path and query for the shadow's container.
        """
        version = self.table.shadow(primary)
        return Copy(self, version, primary, target(version)) if version else None

    def has_room(self, meter: Meter) -> bool:
        """Return whether one more copy may be on its way."""
        bounds = self.bounds
        return meter.in_flight < bounds.copies and len(self._tasks) < bounds.all_copies

    def hold(self, meter: Meter, size: int) -> bool:
        """Take room for more bytes; return False, and take none, where there is not enough."""
        bounds = self.bounds
        if meter.held + size > bounds.size or self.size + size > bounds.all_size:
            return False
        meter.held += size
        self.size += size
        return True

    def let_go(self, meter: Meter, size: int) -> None:
        """Give room back."""
        meter.held -= size
        self.size -= size

    def start(self, copy: "Copy", headers: HeadersFor) -> None:
        """Send a copy, in a task of its own."""
        self._tasks.spawn(copy.exchange(headers), "shadow")


class Copy:
    """The copy of one request; it becomes sent, failed or dropped, and counts that once.

    Args:
        shadows: what all copies share.
        version: the shadow.
        primary: the version that answers the request.
        target: path and query for the shadow's container.
    """

    def __init__(
        self, shadows: Shadows, version: RoutedVersion, primary: RoutedVersion, target: str
    ) -> None:
        self.version = version
        self._shadows = shadows
        self._primary = primary
        self._target = target
        self._body = bytearray()
        self._held = 0
        self._collecting = False
        self._meter = version.shadow_meter = version.shadow_meter or Meter()

    # --- what the request tells; nothing here waits -------------------------------------------

    def watch(self, body: Body, headers: HeadersFor, length: int | None) -> Body:
        """Return the body so that reading it to its end sends the copy.

        Args:
            body: the request's.
            headers: make its headers.
            length: of the body, if it was told.
        """
        self._collecting = True
        if (length or 0) > self._shadows.bounds.body:
            self._drop("body-too-large")
        elif not self._shadows.has_room(self._meter):
            self._drop("copies-in-flight")
        if isinstance(body, AsyncIterator):
            return self._watched(body, headers) if self._collecting else body
        self._keep(body or b"")
        self._send(headers)
        return body

    def send(self, made: Callable[[], tuple[HeadersFor, bytes]]) -> None:
        """Send the copy of a request that is there whole.

        Args:
            made: makes its headers and its body; called when the request itself had its turn.
        """
        asyncio.get_running_loop().call_soon(self._make, made)

    def close(self) -> None:
        """Hear that the request is over; if it never came whole, the copy is dropped."""
        if self._collecting:
            self._drop("incomplete")

    async def _watched(
        self, body: AsyncIterator[bytes], headers: HeadersFor
    ) -> AsyncIterator[bytes]:
        async for piece in body:
            self._keep(piece)
            yield piece
        self._send(headers)

    def _keep(self, piece: bytes) -> None:
        if not self._collecting:
            return
        if self._held + len(piece) > self._shadows.bounds.body:
            self._drop("body-too-large")
        elif not self._shadows.hold(self._meter, len(piece)):
            self._drop("bytes-in-flight")
        else:
            self._held += len(piece)
            # In one piece, for a body of many tiny ones would take many times its size.
            self._body += piece

    def _make(self, made: Callable[[], tuple[HeadersFor, bytes]]) -> None:
        try:
            headers, body = made()
        except LongshoreError as error:
            self._meter.copies[f"failed {problem_of(error).slug}"] += 1
            return
        self._collecting = True
        self._keep(body)
        self._send(headers)

    def _send(self, headers: HeadersFor) -> None:
        if not self._collecting:
            return
        if not self._shadows.has_room(self._meter):
            self._drop("copies-in-flight")
            return
        self._collecting = False
        self._meter.in_flight += 1
        self._shadows.start(self, headers)

    def _drop(self, reason: str) -> None:
        self._collecting = False
        self._meter.copies[f"dropped {reason}"] += 1
        self._let_go()

    def _let_go(self) -> None:
        self._shadows.let_go(self._meter, self._held)
        self._held = 0
        self._body = bytearray()

    # --- on its way ---------------------------------------------------------------------------

    async def exchange(self, headers: HeadersFor) -> None:
        """Send it, and read its answer to the end, within the shadow's own limits."""
        became = "failed cut-off"
        try:
            await self._exchange(headers)
            became = "sent"
        except LongshoreError as error:
            became = f"failed {problem_of(error).slug}"
        except Exception:
            # A defect; but the request that was copied has its answer, whatever comes of the copy.
            became = "failed internal-error"
            log.exception("copying a request to %s failed", self.version.key)
        finally:
            self._meter.in_flight -= 1
            self._meter.copies[became] += 1
            self._let_go()

    async def _exchange(self, headers: HeadersFor) -> None:
        clock, meter = self._shadows.table.clock, self._meter
        with Slot(self._shadows.table, self.version) as slot:
            arrived, outcome = clock(), ABORTED
            self.version.meter.arrived(arrived)
            meter.arrived(arrived)
            try:
                async with self._shadows.upstream.exchange(
                    slot, self._outgoing(headers), patient=False
                ) as answer:
                    async for _ in answer.body.iter_any():
                        pass
                outcome = f"{answer.status // 100}xx"
            except LongshoreError as error:
                outcome = f"{problem_of(error).status // 100}xx"
                raise
            finally:
                meter.ended(outcome, arrived, clock())

    def _outgoing(self, headers: HeadersFor) -> Outgoing:
        own = [
            (b"content-length", str(len(self._body)).encode()),
            (SHADOW, str(self._primary.key).encode()),
        ]
        return Outgoing(
            "POST",
            self._target,
            lambda address: [
                *(each for each in headers(address) if each[0] != b"content-length"),
                *own,
            ],
            in_pieces(self._body) if self._body else None,
        )
