"""The gate before uvicorn's parser: one whole, sound request at a time.

uvicorn parses what it is given as it comes, and it is given nothing of a request before its head is
whole and checked, and nothing of the next request before this one was answered.
"""

import re
from typing import TYPE_CHECKING

from longshore.router.edge.head import read_head, read_line
from longshore.router.edge.limits import EdgeLimits
from longshore.router.edge.refusals import BadRequest, HeadTooLarge
from longshore.router.lane.wire import Chunks, Malformed

if TYPE_CHECKING:
    from longshore.router.lane.wire import RequestHead

_TLS = b"\x16"

_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")


class Gate:
    """Holds back what one client sends until it is a whole head, and finds each request's end.

    Args:
        limits: bytes and headers that a head may have.
    """

    __slots__ = ("_chunks", "_left", "_limits", "head", "taken", "within")

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        self.head = b""
        """What has come of a head that is not whole yet."""
        self._left = 0
        self._chunks: Chunks | None = None
        self.taken = 0
        """Bytes of bodies that have come."""
        self.within = False
        """Whether a request has begun and has not come whole yet."""

    @property
    def within_body(self) -> bool:
        """Whether the body of a request has not come whole yet."""
        return self._left > 0 or self._chunks is not None

    def suits_lane(self, head: "RequestHead") -> bool:
        """Return whether a head that the fast lane understood keeps to our limits, too."""
        raw, limits = head.raw, self._limits
        return (
            len(raw) <= limits.max_head
            # The first line and the empty one are no headers.
            and raw.count(b"\r\n") - 2 <= limits.max_headers
            and b"#" not in head.target
            and b"application/grpc" not in raw
        )

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came.

        Returns:
            What goes on now, and what belongs to a later request.

        Raises:
            RequestError: it must not go on.
        """
        result = self._body(data) if self.within_body else self._head(data)
        self.within = bool(self.head) or self.within_body
        return result

    def _head(self, data: bytes) -> tuple[bytes, bytes]:
        seen = len(self.head)
        held = self.head + data
        while held.startswith(b"\r\n"):
            # Empty lines before a request are to be passed over (RFC 9112 section 2.2).
            held, seen = held[2:], 0
        self.head = held
        end = held.find(b"\r\n\r\n", max(seen - 3, 0)) + 4
        if end < 4:  # noqa: PLR2004 - it is not whole
            self._check_part(held, seen)
            return b"", b""
        if end > self._limits.max_head:
            self._too_large()
        if _BARE.search(held, max(seen - 1, 0), end):
            raise _bare()
        head = read_head(held[:end], self._limits.max_headers)
        self.head = b""
        self._left = head.length
        self._chunks = Chunks() if head.chunked else None
        piece, early = self._body(held[end:])
        return head.raw + piece, early

    def _body(self, data: bytes) -> tuple[bytes, bytes]:
        if self._chunks:
            try:
                end = self._chunks.feed(data)
            except Malformed as error:
                raise BadRequest(f"the body is not chunked as it should be: {error}") from error
            if end < 0:
                self.taken += len(data)
                return data, b""
            self._chunks = None
        else:
            end = min(self._left, len(data))
            self._left -= end
        self.taken += end
        return data[:end], data[end:]

    def _check_part(self, held: bytes, seen: int) -> None:
        """Refuse what can become no sound head any more."""
        if held.startswith(_TLS):
            raise BadRequest("the connection begins with TLS", "This port speaks plain HTTP.")
        if _BARE.search(held, max(seen - 1, 0)):
            raise _bare()
        line, ended, _ = held.partition(b"\r\n")
        if ended:
            read_line(line)
        if len(held) > self._limits.max_head:
            self._too_large()

    def _too_large(self) -> None:
        raise HeadTooLarge("bytes", self._limits.max_head, "max_head")


def _bare() -> BadRequest:
    return BadRequest("the head has a lone CR or LF, or a NUL")
