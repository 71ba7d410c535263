"""What a client hears whose request goes no further, and how it is written on the connection."""

from http import HTTPStatus

from longshore.router.errors import RequestError
from longshore.router.problems import MEDIA_TYPE, problem_of

FACTS = "See docs/http.md for what Longshore takes."


class BadRequest(RequestError):
    """It is no HTTP/1.1, or framed in a way that two readers could understand differently."""

    status = HTTPStatus.BAD_REQUEST
    slug = "malformed-request"
    title = "The request is not well-formed"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)


class HeadTooLarge(RequestError):
    """Its head has too many bytes or headers."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    slug = "head-too-large"
    title = "The request's head is too large"

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(
            f"the request line and headers have more than {limit} {what}",
            hint=f"The platform's setting {setting} is the limit.",
            members={"limit": limit},
        )


class TooSlow(RequestError):
    """It did not come in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    slug = "request-too-slow"
    title = "The request did not come in time"

    def __init__(self, what: str, seconds: float, setting: str) -> None:
        super().__init__(
            f"{what} {seconds:g} s",
            hint=f"Send it again, faster. The platform's setting {setting} is the limit.",
            members={"limit": seconds},
        )


class Crowded(RequestError):
    """There are too many connections."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "too-many-connections"
    title = "Too many connections"

    def __init__(self, whose: str, limit: int, setting: str) -> None:
        super().__init__(
            f"{whose} {limit} connections open, which is the limit",
            hint="Keep connections and use them again, or try later. "
            f"The platform's setting {setting} is the limit.",
            retry_after=5,
            members={"limit": limit},
        )


class WrongExpectation(RequestError):
    """It expects something else than to be asked for its body."""

    status = HTTPStatus.EXPECTATION_FAILED
    slug = "expectation-failed"
    title = "The expectation cannot be met"


class WrongVersion(RequestError):
    """It is another HTTP than 1.0 or 1.1."""

    status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    slug = "http-version-not-supported"
    title = "This port speaks HTTP/1.1"


def written(error: RequestError, *, request_id: str, default_lines: bytes) -> bytes:
    """Return the whole answer to a request that is refused; its connection ends with it.

    Args:
        error: why.
        request_id: for the header and the document.
        default_lines: header lines that every answer carries.
    """
    problem = problem_of(error)
    body = problem.body(request_id)
    own = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        **problem.headers,
        "x-request-id": request_id,
        "connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
    status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
    return b"".join((status.encode(), default_lines, lines.encode(), b"\r\n", body))
