"""What must hold for any bytes: our parsers never disagree with the one behind uvicorn.

Each target takes bytes and raises AssertionError where something does not hold. The first byte of
the input decides how the rest is cut into pieces.
"""

import random
from collections.abc import Iterator

import httptools

from longshore.router.edge.gate import Gate
from longshore.router.edge.limits import EdgeLimits
from longshore.router.errors import RequestError
from longshore.router.lane.wire import (
    Chunks,
    Malformed,
    RequestHead,
    parse_answer,
    parse_request,
)

LIMITS = EdgeLimits(
    max_head=65536,
    max_headers=100,
    head_timeout=1,
    body_timeout=1,
    answer_timeout=1,
    keep_alive=1,
    max_connections=1,
    max_connections_per_client=0,
    tunnel_idle=0,
    tunnel_total=0,
)


class Heard:
    """What the parser behind uvicorn makes of a message."""

    def __init__(self) -> None:
        self.begun = self.complete = 0
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self._in_trailers = False

    def on_message_begin(self) -> None:
        self.begun += 1
        self._in_trailers = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_trailers:
            self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_trailers = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1

    def all(self, *names: bytes) -> list[bytes]:
        return [value for name, value in self.headers if name in names]


def pieces(seed: int, data: bytes) -> Iterator[bytes]:
    """Cut bytes into pieces."""
    # Reproducible, not secret.
    draw = random.Random(seed)  # noqa: S311
    at = 0
    while at < len(data):
        size = draw.choice((1, 1, 2, 3, 7, 30, 1000, 100_000))
        yield data[at : at + size]
        at += size


def requests_are_read_alike(data: bytes) -> None:
    """Check that what the fast lane takes means the same to the other parser."""
    head = parse_request(data)
    if head is None or not Gate(LIMITS).suits_lane(head):
        return
    heard = _heard(head.raw + b"z" * min(head.length, 100))
    assert heard.begun == 1
    assert heard.url.partition(b"?")[2] == head.target.partition(b" ")[0][1:]
    assert heard.all(b"content-length") == [b"%d" % head.length] or head.length == int(
        heard.all(b"content-length")[0]
    )
    assert heard.all(b"host") == [head.host]
    assert not heard.all(b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer")
    _check_rest(head, heard)


def _check_rest(head: RequestHead, heard: Heard) -> None:
    # Our own lines follow those that travel on, whatever these are called.
    own_lines = b"content-length: %d\r\nx-forwarded-host: " % head.length
    rest = head.lines.removeprefix(b"\r\n").rpartition(own_lines)[0]
    names = [line.partition(b":")[0].lower() for line in rest.split(b"\r\n")[:-1]]
    own = {b"host", b"content-length", b"connection", b"x-request-id"}
    own |= {b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-longshore-shadow"}
    assert names == [name for name, _ in heard.headers if name not in own | {b"keep-alive"}]


def _heard(data: bytes) -> Heard:
    heard = Heard()
    httptools.HttpRequestParser(heard).feed_data(data)
    return heard


def answers_are_read_alike(data: bytes) -> None:
    """Check that what the fast lane takes for an answer means the same to the other parser."""
    try:
        head = parse_answer(data)
    except Malformed:
        return
    if head is None or head.status == 101 or head.status < 200:
        return
    heard = Heard()
    parser = httptools.HttpResponseParser(heard)
    try:
        parser.feed_data(head.raw)
    except httptools.HttpParserUpgrade:
        return
    except httptools.HttpParserError:
        # It is stricter about some: two equal lengths, a length beside chunks.
        lengths, codings = heard.all(b"content-length"), heard.all(b"transfer-encoding")
        assert lengths or codings, "what frames a message is all that we read more kindly"
        return
    assert parser.get_status_code() == head.status
    if head.length and head.status not in {204, 304}:
        assert int(heard.all(b"content-length")[0]) == head.length


def chunks_end_alike(data: bytes) -> None:
    """Check that a chunked body ends where it ends for the other parser, however it comes."""
    raw = data[1:]
    end = _end(iter((raw,)))
    assert _end(pieces(data[0] if data else 0, raw)) == end
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    if end is None or end < 0:
        return
    try:
        parser.feed_data(raw[:end])
    except httptools.HttpParserError:
        return
    assert heard.complete == 1, "it ends for us, and not for the other one"


def _end(parts: Iterator[bytes]) -> int | None:
    """Return where a chunked body ends; -1 if it goes on, None if it is malformed."""
    chunks, at = Chunks(), 0
    for part in parts:
        try:
            end = chunks.feed(part)
        except Malformed:
            return None
        if end >= 0:
            return at + end
        at += len(part)
    return -1


def the_gate_lets_one_through(data: bytes) -> None:
    """Check that the gate passes on one whole request at a time, however it comes."""
    raw = data[1:]
    passed, left = _through(iter((raw,)))
    assert (passed, left) == _through(pieces(data[0] if data else 0, raw))
    if not passed or left is None:
        return
    heard = Heard()
    try:
        httptools.HttpRequestParser(heard).feed_data(passed)
    except (httptools.HttpParserUpgrade, httptools.HttpParserError):
        return
    assert heard.begun == 1, "two requests in one"
    assert heard.complete <= 1
    assert len(heard.all(b"host")) <= 1
    assert len(heard.all(b"content-length", b"transfer-encoding")) <= 1


def _through(parts: Iterator[bytes]) -> tuple[bytes, bytes | None]:
    """Return what the gate passes on of the first request, and what is left; None if refused."""
    gate, passed = Gate(LIMITS), b""
    for part in parts:
        try:
            more, early = gate.feed(part)
        except RequestError:
            # How much of a body had passed before depends on how it came.
            return b"", None
        passed += more
        if passed and not gate.within:
            return passed, early + b"".join(parts)
    return passed, b""


TARGETS = (
    requests_are_read_alike,
    answers_are_read_alike,
    chunks_end_alike,
    the_gate_lets_one_through,
)


def all_targets(data: bytes) -> None:
    """Check everything."""
    for target in TARGETS:
        target(data)
