import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.router.lane.wire import Chunks, Malformed, parse_answer, parse_request

LINE = b"POST /v1/models/iris/versions/1/predict?a=b HTTP/1.1\r\n"


def test_a_common_request_is_understood() -> None:
    head = parse_request(
        LINE + b"Host: localhost:8000\r\nX-Odd: \xe9 \r\ncontent-length: 3\r\nX-Odd: 2\r\n"
        b"x-forwarded-for: 10.0.0.1\r\nX-Request-Id: mine\r\n\r\n[1]"
    )
    assert head is not None
    assert (head.model, head.version) == ("iris", "1")
    assert (head.host, head.length, head.request_id) == (b"localhost:8000", 3, b"mine")
    assert head.raw.endswith(b"mine\r\n\r\n")
    assert head.target == b"?a=b HTTP/1.1\r\nhost: "
    assert head.lines == (
        # Order, spelling and duplicates are kept.
        b"\r\nX-Odd: \xe9 \r\nX-Odd: 2\r\ncontent-length: 3\r\nx-forwarded-host: localhost:8000"
        b"\r\nx-forwarded-proto: http\r\nx-forwarded-for: 10.0.0.1, "
    )


def test_what_proxies_before_us_told_is_kept() -> None:
    head = parse_request(
        LINE + b"Host: inner\r\ncontent-length: 0\r\nx-forwarded-for: 10.0.0.1\r\n"
        b"X-Forwarded-For: 10.0.0.2\r\nX-Forwarded-For: \r\nX-Forwarded-Host: outer\r\n"
        b"X-Forwarded-Proto: https\r\nX-Request-Id: <script>\r\n\r\n"
    )
    assert head is not None
    assert head.lines == (
        b"\r\ncontent-length: 0\r\nx-forwarded-host: outer\r\nx-forwarded-proto: https\r\n"
        b"x-forwarded-for: 10.0.0.1, 10.0.0.2, "
    )
    assert head.request_id == b"", "one that is not harmless is replaced"


UNUSUAL = {
    "another method": b"GET /v1/models/iris/predict HTTP/1.1\r\nHost: a\r\n\r\n",
    "another path": b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0": LINE.replace(b"1.1", b"1.0") + b"Host: a\r\nContent-Length: 0\r\n\r\n",
    "absolute form": b"POST http://a/v1/models/iris/predict HTTP/1.1\r\nHost: a\r\n\r\n",
    "an encoded name": b"POST /v1/models/%69ris/predict HTTP/1.1\r\nHost: a\r\n\r\n",
    "an incomplete head": LINE + b"Host: a\r\nContent-Length: 0\r\n",
    "no length": LINE + b"Host: a\r\n\r\n",
    "no host": LINE + b"Content-Length: 0\r\n\r\n",
    "two hosts": LINE + b"Host: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
    "CL.CL": LINE + b"Host: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "equal lengths": LINE + b"Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "CL.TE": LINE + b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "TE": LINE + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "TE, misspelt": LINE + b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n",
    "a signed length": LINE + b"Host: a\r\nContent-Length: +5\r\n\r\n",
    "a list of lengths": LINE + b"Host: a\r\nContent-Length: 5, 5\r\n\r\n",
    "a hexadecimal length": LINE + b"Host: a\r\nContent-Length: 0x5\r\n\r\n",
    "an endless length": LINE + b"Host: a\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
    "obs-fold": LINE + b"Host: a\r\nX: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a bare LF": LINE + b"Host: a\nContent-Length: 0\r\n\r\n",
    "a bare CR": LINE + b"Host: a\rX: b\r\nContent-Length: 0\r\n\r\n",
    "a NUL": LINE + b"Host: a\r\nX: \x00\r\nContent-Length: 0\r\n\r\n",
    "no colon": LINE + b"Host: a\r\nX\r\nContent-Length: 0\r\n\r\n",
    "an empty name": LINE + b"Host: a\r\n: b\r\nContent-Length: 0\r\n\r\n",
    "an expectation": LINE + b"Host: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    "an upgrade": LINE + b"Host: a\r\nContent-Length: 0\r\nUpgrade: h2c\r\n\r\n",
    "named by connection": LINE + b"Host: a\r\nContent-Length: 0\r\nConnection: x-odd\r\n\r\n",
    "an end of the connection": LINE + b"Host: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "too many headers": LINE + b"Host: a\r\nContent-Length: 0\r\n" + b"X: y\r\n" * 99 + b"\r\n",
    "a huge header": LINE + b"Host: a\r\nContent-Length: 0\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_whatever_is_unusual_or_malformed_is_left_to_uvicorn(case: str) -> None:
    assert parse_request(UNUSUAL[case]) is None


class Seen:
    """What the parser behind uvicorn makes of a request."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.complete = True


PIECES = [
    *(b"POST ", b"/v1/models/iris/predict", b" HTTP/1.1", b"\r\n\r\n", b"\r\n", b"\n", b"\r"),
    *(b" ", b"\t", b":", b"x", b"\x00", b"\xff", b"0\r\n", b"Host: a\r\n", b"Host:b\r\n"),
    *(b"Content-Length: 0\r\n", b"Content-Length: 4\r\n", b"content-length:1\r\n"),
    *(b"X-Odd: b\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: keep-alive\r\n"),
    b"X-Request-Id: 7\r\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_what_the_lane_takes_uvicorns_parser_reads_alike(pieces: list[bytes]) -> None:
    head_bytes = (
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces) + b"\r\n"
    )
    head = parse_request(head_bytes)
    if head is None:
        return
    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(head.raw + b"z" * head.length)
    assert seen.complete
    assert parser.get_method() == b"POST"
    assert seen.url + b" HTTP/1.1\r\nhost: " == b"/v1/models/iris/predict" + head.target
    assert [value for name, value in seen.headers if name == b"content-length"] == [
        b"%d" % head.length
    ]
    assert [value for name, value in seen.headers if name == b"host"] == [head.host]
    own = {b"host", b"content-length", b"connection", b"x-request-id"}
    rest = [name for name, _ in seen.headers if name not in own]
    added = [b"content-length", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-for"]
    lines = head.lines.split(b"\r\n")[1:]
    assert [line.partition(b":")[0].lower() for line in lines] == rest + added


def test_an_answer_is_understood() -> None:
    head = parse_answer(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: then\r\nX-A: b\r\nKeep-Alive: x\r\n\r\n[1]"
    )
    assert head is not None
    assert (head.status, head.length, head.chunked, head.keeps) == (200, 3, False, True)
    assert head.status_line == b"HTTP/1.1 200 \r\n"
    assert head.lines == b"X-A: b\r\ncontent-length: 3\r\n"


@pytest.mark.parametrize(
    ("raw", "length", "chunked", "keeps"),
    [
        (b"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\nContent-Length: 9\r\n", None, True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 9\r\n", 9, False, True),
        (b"HTTP/1.1 200 OK\r\n", None, False, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n", 9, False, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n", 9, False, False),
        (b"HTTP/1.1 204 No Content\r\n", 0, False, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n", 0, False, True),
    ],
)
def test_how_an_answer_is_framed(
    raw: bytes, length: int | None, chunked: bool, keeps: bool
) -> None:
    head = parse_answer(raw + b"\r\n")
    assert head is not None
    assert (head.length, head.chunked, head.keeps) == (length, chunked, keeps)


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
def test_an_answer_that_cannot_be_relied_on_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_answer(raw)


def test_half_a_head_is_none_yet() -> None:
    assert parse_answer(b"HTTP/1.1 200 OK\r\nContent-") is None


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
trailers = st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"])


@given(chunks, trailers, st.binary(max_size=9), st.data())
def test_the_end_of_a_chunked_body_is_found_however_it_comes(
    bodies: list[bytes], trailer: bytes, beyond: bytes, data: st.DataObject
) -> None:
    whole = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(each), each) for each in bodies)
    whole += b"0\r\n" + trailer + b"\r\n"
    raw = whole + beyond
    tracker, at = Chunks(), 0
    while at < len(raw):
        size = data.draw(st.integers(min_value=1, max_value=len(raw) - at))
        end = tracker.feed(raw[at : at + size])
        if end >= 0:
            assert at + end == len(whole)
            return
        at += size
    raise AssertionError("the end was not found")


@pytest.mark.parametrize(
    "raw",
    [b"x\r\n", b"-1\r\n", b"\r\n", b"5\n", b"2\r\nabc\r\n", b"1" * 5000, b"f" * 16 + b"\r\n"],
)
def test_a_body_that_is_not_chunked_as_it_says_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Chunks().feed(raw)
