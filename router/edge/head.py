"""The head of a request by RFC 9112, strict: a pure function over bytes.

The parser behind uvicorn is strict in most places. Where it takes what the RFC forbids, or what two
readers could understand differently, the request ends here: no Host or several, several transfer
codings or one in HTTP/1.0, versions that it does not speak, a fragment in the target. And where it
understands something that its application does not, the head is written anew: a target in absolute
form, an upgrade that nobody will do, an expectation in HTTP/1.0.
"""

import re
from typing import NamedTuple

from longshore.router.edge.refusals import (
    FACTS,
    BadRequest,
    HeadTooLarge,
    WrongExpectation,
    WrongVersion,
)
from longshore.router.errors import NotSupported

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})

_LONGEST_NUMBER = 15
"""Digits of a length; enough for a petabyte."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) (HTTP/[0-9]+(?:\.[0-9]+)?)")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=%:\[\]]*")
_CODINGS = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*,[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*"
)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
_READ = _ONCE | {b"connection", b"upgrade", b"content-type"}


class Head(NamedTuple):
    """A sound head, and where its message ends."""

    raw: bytes
    """As uvicorn is to read it."""
    length: int
    """Bytes of the body; 0 where chunks tell it, or there is none."""
    chunked: bool


def read_head(raw: bytes, most_headers: int) -> Head:
    """Check a whole head, its empty line included.

    Args:
        raw: without empty lines before it.
        most_headers: how many headers it may have.

    Raises:
        RequestError: it is malformed, ambiguous, or asks for what Longshore does not do.
    """
    line, *lines = raw[:-4].split(b"\r\n")
    method, target, version = read_line(line)
    if len(lines) > most_headers:
        raise HeadTooLarge("headers", most_headers, "max_headers")
    found = _fields(lines)
    old = version == b"HTTP/1.0"
    host = found.get(b"host", [None])[0]
    if host is None and not old:
        raise BadRequest("the request has no Host", "HTTP/1.1 asks for one.")
    if host is not None and not is_host(host.decode("latin-1")):
        raise BadRequest("the header Host names no host")
    length, chunked = _framing(found, old=old)
    _expectation(found, old=old)
    content_type = found.get(b"content-type", [b""])[0].lower()
    if content_type.startswith(b"application/grpc") and content_type[16:17] != b"-":
        raise NotSupported("gRPC is not served", hint="Use JSON over HTTP/1.1, or gRPC-Web.")
    drop = set()
    if old:
        drop.add(b"expect")
    if b"upgrade" in found and (old or length or chunked or not _upgrades(found)):
        # Upgrades are offers (RFC 9110 section 7.8): without one, it is a request like any other.
        drop |= {b"upgrade", b"http2-settings"}
    if not target.startswith(b"/"):
        target, host = _origin_form(target)
        drop.add(b"host")
        lines.append(b"Host: " + host)
        line = b" ".join((method, target, version))
    elif not drop:
        return Head(raw, length, chunked)
    kept = [each for each in lines[:-1] if _name(each) not in drop]
    kept += [each for each in lines[-1:] if b"host" in drop or _name(each) not in drop]
    return Head(b"\r\n".join([line, *kept, b"", b""]), length, chunked)


def is_host(given: str) -> bool:
    """Return whether a Host header can be one."""
    return _HOST.fullmatch(given) is not None


def read_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Return method, target and version of a request line.

    Raises:
        RequestError: it is none that Longshore takes.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadRequest("the first line is no request line", FACTS)
    method, target, version = match.groups()
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise WrongVersion(
            f"the request is in {version.decode()}, and this port speaks HTTP/1.1",
            hint="HTTP/2, and gRPC with it, is not served; a proxy before Longshore can speak it.",
        )
    if method not in METHODS:
        raise NotSupported(f"the method {method.decode()} is not known", hint=FACTS)
    if b"#" in target:
        raise BadRequest("the target has a fragment", "What follows # is never sent.")
    if not target.startswith(b"/") and not _ABSOLUTE.fullmatch(target):
        raise BadRequest("the target is neither a path nor a URL")
    return method, target, version


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Check all header lines, and return the values of those that matter here."""
    found: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not _TOKEN.fullmatch(name):
            raise BadRequest(_fault(line, colon))
        if _CONTROL.search(value):
            raise BadRequest("a header has a control character in its value")
        name = name.lower()
        if name in _READ:
            values = found.setdefault(name, [])
            values.append(value.strip(b" \t"))
            if name in _ONCE and len(values) > 1:
                raise BadRequest(f"the header {name.decode().title()} is there twice")
    return found


def _fault(line: bytes, colon: bytes) -> str:
    if line[:1] in {b" ", b"\t"}:
        return "a header goes on in the next line (obs-fold)"
    if not colon:
        return "a header has no colon"
    if line.partition(b":")[0].endswith((b" ", b"\t")):
        return "a header has a blank before its colon"
    return "a header has no valid name"


def _framing(found: dict[bytes, list[bytes]], *, old: bool) -> tuple[int, bool]:
    """Return the body's length, and whether it is chunked (RFC 9112 section 6.3)."""
    lengths, codings = found.get(b"content-length"), found.get(b"transfer-encoding")
    if codings:
        if lengths:
            raise BadRequest("the request has both a Content-Length and a Transfer-Encoding")
        if old:
            raise BadRequest("the request is in HTTP/1.0 and has a Transfer-Encoding")
        coding = codings[0].lower()
        if coding == b"chunked":
            return 0, True
        if not _CODINGS.fullmatch(coding):
            raise BadRequest("the header Transfer-Encoding names no codings")
        raise NotSupported("the body's transfer coding is not known", hint="Send it chunked.")
    if not lengths:
        return 0, False
    if not lengths[0].isdigit() or len(lengths[0]) > _LONGEST_NUMBER:
        raise BadRequest("the header Content-Length is no number of bytes")
    return int(lengths[0]), False


def _expectation(found: dict[bytes, list[bytes]], *, old: bool) -> None:
    for each in found.get(b"expect", ()):
        if not old and each.lower() != b"100-continue":
            raise WrongExpectation("the request expects what Longshore does not know", hint=FACTS)


def _upgrades(found: dict[bytes, list[bytes]]) -> bool:
    """Return whether the client may get another protocol; HTTP/2 is never offered."""
    options = [
        each.strip(b" \t").lower() for v in found.get(b"connection", ()) for each in v.split(b",")
    ]
    offers = [each.strip(b" \t").lower() for v in found[b"upgrade"] for each in v.split(b",")]
    return b"upgrade" in options and offers not in ([b"h2c"], [b""])


def _origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Return path and host of a target in absolute form, which overrules Host (section 3.2.2)."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not match[1] or not is_host(match[1].decode("latin-1")):
        raise BadRequest("the target is no URL")
    path = match[2]
    return path if path.startswith(b"/") else b"/" + path, match[1]


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()
