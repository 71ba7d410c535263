"""Which headers travel on, and which end here: pure functions over raw header lists.

Names come in lowercase, as ASGI and HTTP parsers give them. Order and duplicates are kept.
"""

import re
import uuid
from collections.abc import Iterable, Sequence

RawHeaders = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 section 7.6.1, and the proxies' own credentials."""

SHADOW = b"x-longshore-shadow"
"""On the copy of a request, for a shadow; no client can make a request look like one."""

PASSED_ON = b"x-longshore-passed-on"
"""On a request that a follower passed on to the leader; nobody passes it on any further."""

COLD_START = b"x-longshore-cold-start"
"""On the answer to a request that was held while its version was woken: for how many seconds."""

# uvicorn asks the client to go on by itself, as nginx does, so the replica has no part in it.
_ENDS_HERE = HOP_BY_HOP | {
    b"expect",
    b"host",
    SHADOW,
    b"x-request-id",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
}

# The server writes its own Date; the others are Longshore's to say.
_NOT_FROM_REPLICAS = HOP_BY_HOP | {
    b"date",
    b"x-request-id",
    b"x-longshore-version",
    COLD_START,
}

# A list of transfer codings overrules a length (RFC 9112 section 6.3), so it must not go on; and
# these statuses have no body whose length could be told.
_NO_BODY = frozenset({101, 204, 304})

_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def to_replica(
    received: RawHeaders,
    *,
    host: str,
    peer: str,
    scheme: str,
    request_id: str,
    strip: Iterable[bytes] = (),
) -> list[tuple[bytes, bytes]]:
    """Return the headers for the replica.

    ``Host`` becomes the replica's own address, as nginx does it by default: model servers that
    guard against DNS rebinding answer only to addresses that they know, and the container should
    see what it sees when somebody calls it directly. What the client wrote goes into
    ``X-Forwarded-Host``. A scheme and host that a proxy before us named are kept.

    Args:
        received: as the client sent them.
        host: the replica's address.
        peer: the client's address; empty where it is not known.
        scheme: how the client reached us, ``http`` or ``https``.
        request_id: the request's id.
        strip: further names to drop.
    """
    drop = _ENDS_HERE | _named_by_connection(received) | frozenset(strip)
    headers = [(b"host", host.encode())]
    headers += [(name, value) for name, value in received if name not in drop]
    path = [value for value in _all(received, b"x-forwarded-for") if value]
    headers.append((b"x-forwarded-for", b", ".join([*path, peer.encode() or b"unknown"])))
    original = _first(received, b"x-forwarded-host") or _first(received, b"host")
    if original:
        headers.append((b"x-forwarded-host", original))
    proto = _first(received, b"x-forwarded-proto") or scheme.encode()
    headers.append((b"x-forwarded-proto", proto))
    headers.append((b"x-request-id", request_id.encode()))
    return headers


def to_client(received: RawHeaders, *, status: int, version: str) -> list[tuple[bytes, bytes]]:
    """Return the headers for the client, but for ``x-request-id``, which every answer gets.

    Args:
        received: as the replica sent them, names in lowercase.
        status: of the answer.
        version: ``name:version``.
    """
    drop = _NOT_FROM_REPLICAS | _named_by_connection(received)
    if status in _NO_BODY or any(name == b"transfer-encoding" for name, _ in received):
        drop |= {b"content-length"}
    headers = [(name, value) for name, value in received if name not in drop]
    headers.append((b"x-longshore-version", version.encode()))
    return headers


def to_parent(received: RawHeaders, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers for the process that manages the platform: all but those of this hop."""
    drop = HOP_BY_HOP | _named_by_connection(received) | {b"expect", b"x-request-id"}
    kept = [(name, value) for name, value in received if name not in drop]
    return [*kept, (b"x-request-id", request_id.encode())]


def from_parent(received: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the headers for the client, but for those that every answer gets."""
    drop = HOP_BY_HOP | _named_by_connection(received) | {b"date", b"x-request-id"}
    return [(name, value) for name, value in received if name not in drop]


def request_id(received: RawHeaders) -> str:
    """Return the client's request id if it is harmless, else a new one."""
    given = _first(received, b"x-request-id")
    return given.decode() if given and is_sane_request_id(given) else uuid.uuid4().hex


def is_sane_request_id(given: bytes) -> bool:
    """Return whether a client's request id can go into logs and headers as it is."""
    return _SANE_REQUEST_ID.fullmatch(given) is not None


def content_length(received: RawHeaders) -> int | None:
    """Return the length that the body has, if it was told."""
    told = _first(received, b"content-length")
    return int(told) if told and told.isdigit() else None


def has_body(received: RawHeaders) -> bool:
    """Return whether a request with these headers has a body (RFC 9112 section 6.3)."""
    return bool(content_length(received)) or bool(_all(received, b"transfer-encoding"))


def combined(received: RawHeaders, name: bytes) -> bytes | None:
    """Return the value of a header, of several by one name as RFC 9110 section 5.3 joins them.

    None where there is none, or an empty one.
    """
    values = (value.strip(b" \t") for value in _all(received, name))
    return b", ".join(value for value in values if value) or None


def _named_by_connection(received: RawHeaders) -> frozenset[bytes]:
    values = _all(received, b"connection")
    # A length describes this very message; a client that calls it a hop's own is not obeyed.
    return frozenset(
        name for value in values for each in value.split(b",") if (name := each.strip().lower())
    ) - {b"content-length"}


def _all(received: RawHeaders, name: bytes) -> list[bytes]:
    return [value for each, value in received if each == name]


def _first(received: RawHeaders, name: bytes) -> bytes | None:
    return next((value for each, value in received if each == name), None)
