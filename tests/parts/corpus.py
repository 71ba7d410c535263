"""Requests byte by byte, and what becomes of each: a corpus for everything that parses requests.

``%T`` stands for the target, which differs from one way to the other. An outcome is the statuses
that the client gets, whether its connection is closed then, and what the replica sees: method,
target and body of each request. Whoever sends ``STOLEN`` to a replica was fooled.
"""

from dataclasses import dataclass

STOLEN = b"GET /stolen HTTP/1.1\r\nHost: localhost\r\n\r\n"

ONE = ("POST", "/predict", b"hello")
"""What the replica sees of most requests that are sound."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a case."""

    statuses: tuple[int, ...]
    closed: bool
    seen: tuple[tuple[str, str, bytes], ...]


@dataclass(frozen=True)
class Case:
    """One case."""

    name: str
    raw: bytes
    outcome: Outcome


def fine(*seen: tuple[str, str, bytes], closed: bool = False) -> Outcome:
    """Return the outcome of requests that are all answered."""
    return Outcome((200,) * len(seen), closed, seen)


def refused(status: int = 400) -> Outcome:
    """Return the outcome of what a replica hears nothing of."""
    return Outcome((status,), True, ())


def post(lines: bytes, body: bytes = b"hello") -> bytes:
    """Return a request with these header lines."""
    return b"POST %T HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n" + body


def sized(lines: bytes) -> bytes:
    """Return a request that is sound but for these header lines."""
    return post(lines + b"Content-Length: 5\r\n")


def chunked(body: bytes) -> bytes:
    """Return a request with a chunked body."""
    return post(b"Transfer-Encoding: chunked\r\n", body)


def coded(line: bytes) -> bytes:
    """Return a request with a length and something that could be a transfer coding."""
    return post(line + b"Content-Length: 5\r\n", b"0\r\n\r\n" + STOLEN)


def length(value: bytes) -> bytes:
    """Return a request with this length."""
    return post(b"Content-Length:" + value + b"\r\n", b"hello")


def line(first: bytes) -> bytes:
    """Return a request with this first line."""
    return first + b"\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"


TWICE = post(b"Content-Length: 5\r\n") * 2

CASES = [
    # --- what is sound ------------------------------------------------------------------------
    Case("a sized body", sized(b""), fine(ONE)),
    Case("a chunked body", chunked(b"5\r\nhello\r\n0\r\n\r\n"), fine(ONE)),
    Case("no body", post(b"Content-Length: 0\r\n", b""), fine(("POST", "/predict", b""))),
    Case("neither length nor chunks", post(b"", b""), fine(("POST", "/predict", b""))),
    Case("two in a pipeline", TWICE, fine(ONE, ONE)),
    Case("an empty line before", b"\r\n" + sized(b""), fine(ONE)),
    Case("leading zeros in the length", length(b" 0005"), fine(ONE)),
    Case("no blank before the length", length(b"5"), fine(ONE)),
    Case("blanks around the length", length(b" \t 5 \t "), fine(ONE)),
    Case(
        "the coding in capitals",
        post(b"Transfer-Encoding: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        fine(ONE),
    ),
    Case(
        "a tab before the coding",
        post(b"Transfer-Encoding:\tchunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        fine(ONE),
    ),
    Case("an end of the connection", sized(b"Connection: close\r\n"), fine(ONE, closed=True)),
    Case(
        "a request behind the last one",
        sized(b"Connection: close\r\n") + STOLEN,
        fine(ONE, closed=True),
    ),
    Case("100-continue", sized(b"Expect: 100-continue\r\n"), Outcome((100, 200), False, (ONE,))),
    Case("a header without a value", sized(b"X-Empty:\r\n"), fine(ONE)),
    Case("bytes beyond ASCII in a value", sized(b"X-Odd: \xc3\xa9\xff\r\n"), fine(ONE)),
    Case(
        "HTTP/1.0",
        b"POST %T HTTP/1.0\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        fine(ONE, closed=True),
    ),
    Case(
        "HTTP/1.0 without Host",
        b"POST %T HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
        fine(ONE, closed=True),
    ),
    Case(
        "HTTP/1.0 with an expectation",
        b"POST %T HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        fine(ONE, closed=True),
    ),
    Case("absolute form", line(b"POST http://localhost%T HTTP/1.1"), fine(ONE)),
    Case(
        "an offer of HTTP/2",
        sized(
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAA\r\n"
        ),
        fine(ONE),
    ),
    # --- two framings -------------------------------------------------------------------------
    Case("CL.TE", coded(b"Transfer-Encoding: chunked\r\n"), refused()),
    Case(
        "TE.CL",
        post(
            b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            b"2e\r\n" + STOLEN + b"\r\n0\r\n\r\n",
        ),
        refused(),
    ),
    Case("CL.CL", post(b"Content-Length: 0\r\nContent-Length: 44\r\n", STOLEN), refused()),
    Case("CL.CL, equal", post(b"Content-Length: 5\r\nContent-Length: 5\r\n"), refused()),
    Case(
        "CL.CL, spelled otherwise", post(b"content-length: 5\r\nCONTENT-LENGTH: 6\r\n"), refused()
    ),
    Case("lengths in a list", length(b" 5, 5"), refused()),
    Case("other lengths in a list", length(b" 5,6"), refused()),
    Case(
        "TE.TE",
        post(
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + STOLEN
        ),
        refused(),
    ),
    Case(
        "TE.TE, equal",
        post(
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
        refused(),
    ),
    Case(
        "TE in HTTP/1.0",
        b"POST %T HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        refused(),
    ),
    *(
        Case(f"CL and {name}", coded(b"Transfer-Encoding" + rest + b"\r\n"), refused())
        for name, rest in {
            "xchunked": b": xchunked",
            "identity": b": identity",
            "nothing": b":",
            "chunked twice": b": chunked, chunked",
            "a blank before the colon": b" : chunked",
            "a tab before the colon": b"\t: chunked",
            "a vertical tab": b":\x0bchunked",
            "quotes": b': "chunked"',
            "a folded line": b":\r\n chunked",
            "a lone LF": b":\nchunked",
            "a lone CR": b":\rchunked",
            "a NUL": b": chunked\x00",
        }.items()
    ),
    *(
        Case(
            f"only {name}",
            post(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n"),
            refused(status),
        )
        for name, value, status in (
            ("gzip, chunked", b"gzip, chunked", 501),
            ("chunked, gzip", b"chunked, gzip", 501),
            ("identity", b"identity", 501),
            ("xchunked", b"xchunked", 501),
            ("an empty coding", b"", 400),
            ("a coding with a parameter", b"chunked;q=1", 400),
        )
    ),
    # --- lengths ------------------------------------------------------------------------------
    *(
        Case(f"the length {value.decode('latin-1')!r}", length(b" " + value), refused())
        for value in (
            *(b"+5", b"-1", b"-0", b"0x5", b"5 5", b"5.0", b"5e0", b"5;", b"", b"five", b"\xb2"),
            *(b"9" * 20, b"18446744073709551621", b"5\x00", b"5\x0b", b"'5'"),
        )
    ),
    # --- lines --------------------------------------------------------------------------------
    Case("lone LFs", post(b"").replace(b"\r\n", b"\n"), refused()),
    Case("a lone LF", sized(b"X: y\nContent-Length: 0\r\n"), refused()),
    Case(
        "a lone LF after the first line",
        sized(b"").replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
        refused(),
    ),
    Case(
        "a lone LF at the end",
        b"POST %T HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\n\r\nhello",
        refused(),
    ),
    Case("a lone LF before", b"\n" + sized(b""), refused()),
    Case("a lone CR in a value", sized(b"X: y\rContent-Length: 0\r\n"), refused()),
    Case("a lone CR as an end", sized(b"X: y\r"), refused()),
    Case("two CRs as an end", sized(b"X: y\r\r\n"), refused()),
    Case("a folded line", sized(b"X: y\r\n z\r\n"), refused()),
    Case("a folded line with a tab", sized(b"X: y\r\n\tz\r\n"), refused()),
    Case(
        "a folded first line",
        b"POST %T HTTP/1.1\r\n Host: localhost\r\nContent-Length: 5\r\n\r\nhello",
        refused(),
    ),
    Case("a folded line that is a header", sized(b"X: y\r\n Content-Length: 0\r\n"), refused()),
    Case("a NUL in a value", sized(b"X: a\x00b\r\n"), refused()),
    Case("a NUL in a name", sized(b"X\x00: b\r\n"), refused()),
    Case("a control character in a value", sized(b"X: a\x07b\r\n"), refused()),
    Case("a DEL in a value", sized(b"X: a\x7fb\r\n"), refused()),
    Case("a blank before the colon", sized(b"X : b\r\n"), refused()),
    Case("a blank before the length's colon", post(b"Content-Length : 5\r\n"), refused()),
    Case("no colon", sized(b"X\r\n"), refused()),
    Case("no name", sized(b": b\r\n"), refused()),
    Case("a name with a blank", sized(b"X Y: b\r\n"), refused()),
    Case("a name beyond ASCII", sized(b"X-\xc3\xa9: b\r\n"), refused()),
    Case("a name with a slash", sized(b"X/Y: b\r\n"), refused()),
    Case("a name in brackets", sized(b"(X): b\r\n"), refused()),
    # --- the first line -----------------------------------------------------------------------
    Case("two blanks after the method", line(b"POST  %T HTTP/1.1"), refused()),
    Case("two blanks before the version", line(b"POST %T  HTTP/1.1"), refused()),
    Case("a blank at the end", line(b"POST %T HTTP/1.1 "), refused()),
    Case("a tab", line(b"POST\t%T HTTP/1.1"), refused()),
    Case("a blank before", b" " + sized(b""), refused()),
    Case("a blank in the target", line(b"POST %T?a b HTTP/1.1"), refused()),
    Case("a control character in the target", line(b"POST %T?a\x01 HTTP/1.1"), refused()),
    Case("bytes beyond ASCII in the target", line(b"POST %T?a=\xc3\xa9 HTTP/1.1"), refused()),
    Case("a fragment", line(b"POST %T?a#b HTTP/1.1"), refused()),
    Case("a relative target", line(b"POST predict HTTP/1.1"), refused()),
    Case("no target", line(b"POST HTTP/1.1"), refused()),
    Case("HTTP/0.9", b"GET %T\r\n", refused()),
    Case("HTTP/0.9, with headers", b"GET %T\r\nHost: localhost\r\n\r\n", refused()),
    Case("HTTP/0.9, by name", line(b"POST %T HTTP/0.9"), refused(505)),
    Case("HTTP/1.2", line(b"POST %T HTTP/1.2"), refused(505)),
    Case("HTTP/2.0", line(b"POST %T HTTP/2.0"), refused(505)),
    Case("HTTP/11.1", line(b"POST %T HTTP/11.1"), refused(505)),
    Case("http/1.1", line(b"POST %T http/1.1"), refused()),
    Case("HTTP/1.1x", line(b"POST %T HTTP/1.1x"), refused()),
    Case("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), refused(505)),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refused()),
    Case("an unknown method", line(b"FROBNICATE %T HTTP/1.1"), refused(501)),
    Case("a method in small letters", line(b"post %T HTTP/1.1"), refused(501)),
    Case("a method with an odd character", line(b"PO(ST %T HTTP/1.1"), refused()),
    Case(
        "CONNECT",
        b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n" + STOLEN,
        refused(501),
    ),
    Case("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", refused()),
    # --- the host -----------------------------------------------------------------------------
    Case("no Host", b"POST %T HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", refused()),
    Case("two Hosts", sized(b"Host: evil.example\r\n"), refused()),
    Case("two equal Hosts", sized(b"Host: localhost\r\n"), refused()),
    Case(
        "a Host with a path",
        b"POST %T HTTP/1.1\r\nHost: localhost/x\r\nContent-Length: 5\r\n\r\nhello",
        refused(),
    ),
    Case(
        "a Host with a blank",
        b"POST %T HTTP/1.1\r\nHost: local host\r\nContent-Length: 5\r\n\r\nhello",
        refused(),
    ),
    Case(
        "a Host with a user",
        b"POST %T HTTP/1.1\r\nHost: a@localhost\r\nContent-Length: 5\r\n\r\nhello",
        refused(),
    ),
    Case(
        "absolute form overrules Host",
        b"POST http://localhost%T HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n\r\nhello",
        fine(ONE),
    ),
    Case("absolute form with a user", line(b"POST http://a@localhost%T HTTP/1.1"), refused()),
    Case("absolute form without a host", line(b"POST http:///predict HTTP/1.1"), refused()),
    Case("another scheme", line(b"POST ftp://localhost%T HTTP/1.1"), refused()),
    # --- sizes --------------------------------------------------------------------------------
    Case("a huge header", sized(b"X: " + b"y" * 70_000 + b"\r\n"), refused(431)),
    Case("a huge target", line(b"POST %T?" + b"y" * 70_000 + b" HTTP/1.1"), refused(431)),
    Case("a head without end", post(b"", b"")[:-2] + b"X: yyyyyy\r\n" * 8000, refused(431)),
    Case("101 headers", sized(b"X: y\r\n" * 99), refused(431)),
    Case("100 headers", sized(b"X: y\r\n" * 98), fine(ONE)),
    # --- chunks -------------------------------------------------------------------------------
    Case("several chunks", chunked(b"2\r\nhe\r\n003\r\nllo\r\n000\r\n\r\n"), fine(ONE)),
    Case("a chunk's extension", chunked(b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'), fine(ONE)),
    Case("trailers", chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), fine(ONE)),
    Case(
        "a pipeline behind chunks", chunked(b"5\r\nhello\r\n0\r\n\r\n") + sized(b""), fine(ONE, ONE)
    ),
    *(
        Case(f"chunks: {name}", chunked(body + STOLEN), refused())
        for name, body in {
            "no number": b"x\r\n",
            "no size": b"\r\nhello\r\n0\r\n\r\n",
            "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
            "a signed size": b"+5\r\nhello\r\n0\r\n\r\n",
            "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
            "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
            "a size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
            "a blank before the size": b" 5\r\nhello\r\n0\r\n\r\n",
            "a blank after the size": b"5 \r\nhello\r\n0\r\n\r\n",
            "a lone LF after the size": b"5\nhello\r\n0\r\n\r\n",
            "a lone LF after the data": b"5\r\nhello\n0\r\n\r\n",
            "a lone CR after the size": b"5\rhello\r\n0\r\n\r\n",
            "too much data": b"5\r\nhello!\r\n0\r\n\r\n",
            "no end of the data": b"5\r\nhello0\r\n\r\n",
            "a lone LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            "a NUL in an extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
            "an endless extension": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
            "a lone LF as the end": b"5\r\nhello\r\n0\r\n\n",
            "a length among the trailers": b"5\r\nhello\r\n0\r\nContent-Length: 44\r\n\r\n",
            "a coding among the trailers": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "a malformed trailer": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
            "a folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        }.items()
    ),
    # --- one after the other ------------------------------------------------------------------
    Case(
        "a malformed one behind a good one",
        sized(b"") + sized(b"X : y\r\n"),
        Outcome((200, 400), True, (ONE,)),
    ),
    Case("a good one behind a malformed one", sized(b"X : y\r\n") + sized(b""), refused()),
    Case(
        "rubbish behind a good one", sized(b"") + b"\x00\x01\x02", Outcome((200, 400), True, (ONE,))
    ),
    # --- what is asked for --------------------------------------------------------------------
    Case("another expectation", sized(b"Expect: the-unexpected\r\n"), refused(417)),
    Case("gRPC", sized(b"TE: trailers\r\nContent-Type: application/grpc+proto\r\n"), refused(501)),
    Case("gRPC without its TE", sized(b"Content-Type: application/grpc\r\n"), refused(501)),
    Case("gRPC-Web", sized(b"Content-Type: application/grpc-web+proto\r\n"), fine(ONE)),
]


OTHER_STATUS = "refused by both, with another status"
ENDS = "lines end in CRLF: a lone LF or CR is where two readers come to disagree"
NAMES = "names and values have only the characters that RFC 9110 gives them"
FIRST = "the first line has single blanks and nothing but ASCII, and a target has no fragment"
VERSIONS = "what is not HTTP/1.0 or HTTP/1.1 is not spoken"
CODINGS = "blanks around a value mean nothing"
CHUNKS = "chunks and trailers are held to the letter of RFC 9112, for they decide where a body ends"
BOUNDS = "the number of headers is bounded"
SERVED = "methods, expectations and gRPC that no container would get are told off at once"
HOSTS = "a Host is a name and a port, and a URL is one of HTTP"

DIFFERENCES = {
    "blanks around the length": (400, CODINGS),
    "a tab before the coding": (501, CODINGS),
    "CL and xchunked": (501, OTHER_STATUS),
    "CL and identity": (501, OTHER_STATUS),
    "CL and nothing": (501, OTHER_STATUS),
    "CL and chunked twice": (501, OTHER_STATUS),
    "CL and a vertical tab": (501, OTHER_STATUS),
    "CL and quotes": (501, OTHER_STATUS),
    "CL and a lone LF": (501, OTHER_STATUS),
    "only an empty coding": (501, OTHER_STATUS),
    "only a coding with a parameter": (501, OTHER_STATUS),
    "lone LFs": (200, ENDS),
    "a lone LF after the first line": (200, ENDS),
    "a lone LF at the end": (200, ENDS),
    "a lone LF before": (200, ENDS),
    "two CRs as an end": (200, ENDS),
    "a control character in a value": (200, NAMES),
    "a DEL in a value": (200, NAMES),
    "no colon": (200, NAMES),
    "a name beyond ASCII": (200, NAMES),
    "a name with a slash": (200, NAMES),
    "a name in brackets": (200, NAMES),
    "two blanks after the method": (200, FIRST),
    "two blanks before the version": (200, FIRST),
    "a blank at the end": (200, FIRST),
    "bytes beyond ASCII in the target": (200, FIRST),
    "a fragment": (200, FIRST),
    "HTTP/0.9": (0, VERSIONS),
    "HTTP/0.9, with headers": (0, VERSIONS),
    "HTTP/0.9, by name": (400, OTHER_STATUS),
    "HTTP/1.2": (200, VERSIONS),
    "HTTP/2's preface": (400, OTHER_STATUS),
    "an unknown method": (200, SERVED),
    "a method in small letters": (400, OTHER_STATUS),
    "CONNECT": (400, OTHER_STATUS),
    "a Host with a user": (200, HOSTS),
    "another scheme": (200, HOSTS),
    "a huge header": (400, OTHER_STATUS),
    "a huge target": (414, OTHER_STATUS),
    "a head without end": (400, OTHER_STATUS),
    "101 headers": (200, BOUNDS),
    "chunks: a blank after the size": (200, CHUNKS),
    "chunks: a lone LF after the size": (200, CHUNKS),
    "chunks: a lone LF after the data": (200, CHUNKS),
    "chunks: a NUL in an extension": (200, CHUNKS),
    "chunks: an endless extension": (200, CHUNKS),
    "chunks: a lone LF as the end": (200, CHUNKS),
    "chunks: a length among the trailers": (200, CHUNKS),
    "chunks: a coding among the trailers": (200, CHUNKS),
    "chunks: a malformed trailer": (200, CHUNKS),
    "chunks: a folded trailer": (200, CHUNKS),
    "another expectation": (200, SERVED),
    "gRPC": (200, SERVED),
    "gRPC without its TE": (200, SERVED),
}
"""What nginx 1.22 does otherwise: its first status (0 where it has none), and why we do not."""
