"""HTTP/1.1 on the wire, as far as the fast lane goes: strict, and pure functions over bytes.

One regular expression checks a whole head. What does not match is no error here: a request that is
unusual or malformed is left to uvicorn, which answers it or refuses it.
"""

import re
from dataclasses import dataclass

from longshore.router.headers import is_sane_request_id

MOST_HEAD = 64 * 1024
"""Bytes of a head; a longer one is refused."""

MOST_REMEMBERED = 2048
"""Bytes of a head that a connection remembers; longer ones are parsed each time."""

_LONGEST_NUMBER = 15
"""Digits of a length; enough for a petabyte."""

_LONGEST_CHUNK_LINE = 4096

_FIRST_FINAL = 200
_BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body (RFC 9112 section 6.3)."""

# RFC 9110 section 5.5: no control characters but tab. A line that begins with a blank (obs-fold),
# a bare CR or LF, a NUL and a blank before the colon all fail to match.
_FIELDS = rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n){0,100}+)"

_REQUEST = re.compile(
    rb"POST /v1/models/([a-z0-9-]{1,63}+)(?:/versions/([A-Za-z0-9._-]{1,32}+))?/predict"
    rb"(\?[!-~]*+)? HTTP/1\.1\r\n" + _FIELDS + rb"\r\n"
)
_ANSWER = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n" + _FIELDS + rb"\r\n"
)

# Headers that end here, or that the router writes anew. Splitting a head by these yields the rest
# of it in one piece, which travels on unchanged.
_REQUEST_OWN = re.compile(
    rb"^(host|content-length|connection|x-request-id|x-forwarded-for|x-forwarded-host"
    rb"|x-forwarded-proto|x-longshore-shadow|transfer-encoding|expect|upgrade|te|trailer"
    rb"|keep-alive|http2-settings|proxy-[a-z-]+):([^\r]*+)\r\n",
    re.IGNORECASE | re.MULTILINE,
)
_KEYED_REQUEST_OWN = re.compile(
    _REQUEST_OWN.pattern.replace(b"(host|", b"(host|authorization|"), _REQUEST_OWN.flags
)
_ANSWER_OWN = re.compile(
    rb"^(content-length|transfer-encoding|connection|keep-alive|date|x-request-id"
    rb"|x-longshore-version|x-longshore-cold-start|upgrade|te|trailer|proxy-[a-z-]+):([^\r]*+)\r\n",
    re.IGNORECASE | re.MULTILINE,
)


# Both are made once and never changed. They hold what is written for them as ready bytes, since
# a connection carries the same head again and again, and is asked to parse it only once.


@dataclass(slots=True, eq=False)
class RequestHead:
    """The head of a request that the fast lane takes."""

    raw: bytes
    """All of it, to the blank line."""
    model: str
    version: str | None
    host: bytes
    length: int
    request_id: bytes
    """As the client sent it; empty for none, or one that is not harmless."""
    authorization: bytes
    """As the client sent it, where callers need a key; empty otherwise."""
    target: bytes
    """From the query to the name of the Host header, for the replica."""
    lines: bytes
    """From the end of the Host header to the value of X-Forwarded-For, for the replica; see
    ``headers.to_replica`` for what goes into it."""


@dataclass(slots=True, eq=False)
class AnswerHead:
    """The head of a replica's answer."""

    raw: bytes
    """All of it, to the blank line."""
    status: int
    length: int | None
    """Bytes of the body; None where chunks or the connection's end tell it."""
    chunked: bool
    keeps: bool
    """Whether the connection can carry another exchange."""
    status_line: bytes
    lines: bytes
    """Those that travel on, and the body's framing, for the client."""


class Malformed(Exception):
    """A replica sent something that is not HTTP/1.1."""


def parse_request(  # noqa: C901 - one ladder over the names
    data: bytes, *, keyed: bool = False
) -> RequestHead | None:
    """Return the head of a common prediction request, or None for anything else.

    Args:
        data: what came first.
        keyed: whether callers need a key, which is then none of a model's business.
    """
    match = _REQUEST.match(data)
    if match is None or match.end() > MOST_HEAD:
        return None
    model, version, query, fields = match.groups()
    parts = (_KEYED_REQUEST_OWN if keyed else _REQUEST_OWN).split(fields)
    host = length = None
    authorization = given = forwarded_for = forwarded_host = forwarded_proto = b""
    for index in range(1, len(parts), 3):
        name, value = parts[index].lower(), parts[index + 1].strip(b" \t")
        if name == b"host" and host is None:
            host = value
        elif name == b"content-length" and length is None and _is_number(value):
            length = int(value)
        elif name == b"authorization" and not authorization:
            authorization = value
        elif name == b"connection" and value.lower() == b"keep-alive":
            pass
        elif name == b"x-request-id" and not given:
            given = value
        elif name == b"x-forwarded-for":
            forwarded_for += value + b", " if value else b""
        elif name == b"x-forwarded-host" and not forwarded_host:
            forwarded_host = value
        elif name == b"x-forwarded-proto" and not forwarded_proto:
            forwarded_proto = value
        else:
            # Transfer codings, expectations, upgrades, and whatever is there twice.
            return None
    if not host or length is None:
        return None
    return RequestHead(
        data[: match.end()],
        model.decode(),
        version.decode() if version else None,
        host,
        length,
        given if is_sane_request_id(given) else b"",
        authorization,
        (query or b"") + b" HTTP/1.1\r\nhost: ",
        b"\r\n%bcontent-length: %d\r\nx-forwarded-host: %b\r\nx-forwarded-proto: %b\r\n"
        b"x-forwarded-for: %b"
        % (
            b"".join(parts[::3]),
            length,
            forwarded_host or host,
            forwarded_proto or b"http",
            forwarded_for,
        ),
    )


def parse_answer(data: bytes) -> AnswerHead | None:  # noqa: C901 - one ladder over the names
    """Return the head of an answer, or None if it is not complete yet.

    Raises:
        Malformed: it is none, or is framed in a way that cannot be relied on.
    """
    match = _ANSWER.match(data)
    if match is None:
        if b"\r\n\r\n" in data or len(data) > MOST_HEAD:
            raise Malformed("its head is not HTTP/1.1")
        return None
    minor, code, fields = match.groups()
    status, length, chunked, keeps = int(code), None, False, minor == b"1"
    parts = _ANSWER_OWN.split(fields)
    for index in range(1, len(parts), 3):
        name, value = parts[index].lower(), parts[index + 1].strip(b" \t")
        if name == b"content-length":
            if not _is_number(value) or length not in {None, int(value)}:
                raise Malformed("its content-length is no number, or several")
            length = int(value)
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise Malformed(f"its transfer-encoding is {value!r}")
            chunked = True
        elif name == b"connection":
            keeps = keeps and value.lower() == b"keep-alive"
    if status < _FIRST_FINAL or status in _BODILESS:
        length, chunked, framing = 0, False, b""
    elif length is None or chunked:
        # The coding overrules a length, which must then not travel on (RFC 9112 section 6.3). And
        # where the connection's end tells the end, the client gets chunks, for its own goes on.
        length, framing = None, b"transfer-encoding: chunked\r\n"
    else:
        framing = b"content-length: %d\r\n" % length
    keeps = keeps and (chunked or length is not None)
    return AnswerHead(
        data[: match.end()],
        status,
        length,
        chunked,
        keeps,
        b"HTTP/1.1 %d \r\n" % status,
        b"".join(parts[::3]) + framing,
    )


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= _LONGEST_NUMBER


class Chunks:
    """Finds where a chunked body ends, without changing a byte of it."""

    __slots__ = ("_left", "_line", "_within")

    def __init__(self) -> None:
        self._within = self._size
        self._line = b""
        self._left = 0

    def feed(self, data: bytes) -> int:
        """Read the next piece of the body.

        Returns:
            Where in this piece the body ends; -1 if it goes on.

        Raises:
            Malformed: it is no chunked body.
        """
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            newline = data.find(b"\n", at)
            line = self._line + (data[at:] if newline < 0 else data[at : newline + 1])
            if len(line) > _LONGEST_CHUNK_LINE:
                raise Malformed("a line between its chunks is too long")
            if newline < 0:
                self._line = line
                return -1
            self._line = b""
            at = newline + 1
            if not line.endswith(b"\r\n"):
                raise Malformed("a line between its chunks does not end in CRLF")
            if self._within(line[:-2]):
                return at
        return -1

    def _size(self, line: bytes) -> bool:
        digits = line.partition(b";")[0].strip(b" \t")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
            raise Malformed("the size of a chunk is no number")
        self._left = int(digits, 16)
        self._within = self._after if self._left else self._trailer
        return False

    def _after(self, line: bytes) -> bool:
        if line:
            raise Malformed("a chunk is longer than it says")
        self._within = self._size
        return False

    def _trailer(self, line: bytes) -> bool:
        return not line
