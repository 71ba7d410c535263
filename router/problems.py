"""RFC 9457 problem documents: the one form in which every error reaches a caller."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, JsonValue

from longshore.core.errors import (
    Conflict,
    InvalidInput,
    LongshoreError,
    NotFound,
    Refused,
    Unavailable,
    WorkloadFailed,
)
from longshore.router.errors import RequestError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:longshore:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong with one request."""

    status: int
    slug: str
    title: str
    detail: str
    hint: str = ""
    members: Mapping[str, JsonValue] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """Return the document as JSON."""
        document: dict[str, JsonValue] = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.hint:
            document["hint"] = self.hint
        document["instance"] = request_id
        return json.dumps({**document, **self.members}).encode()


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457); further members depend on its type."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    """Which kind of problem; a URI that only names it."""
    title: str
    """The kind in a few words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened and why."""
    hint: str | None = None
    """What to do next."""
    instance: str
    """The request's id, as in the header x-request-id and in Longshore's log."""


def problem_of(error: LongshoreError) -> Problem:
    """Return what to tell about an error that is meant for the user."""
    if isinstance(error, RequestError):
        return Problem(
            error.status,
            error.slug,
            error.title,
            error.message,
            error.hint,
            error.members,
            error.headers,
        )
    members: dict[str, JsonValue] = {}
    headers: dict[str, str] = {}
    match error:
        case InvalidInput():
            kind = (422, "invalid-input", "The input cannot be accepted")
            members["errors"] = [{"pointer": error.pointer, "detail": error.message}]
        case NotFound():
            kind = (404, "not-found", "There is no such thing")
            members["nearest"] = list(error.nearest)
        case Conflict():
            kind = (409, "conflict", "The number is taken by other content")
        case Refused():
            kind = (422, "refused", "Longshore will not do this")
        case Unavailable():
            kind = (503, "unavailable", "A part of Longshore does not answer now")
            headers["retry-after"] = "5"
        case WorkloadFailed():
            kind = (502, "workload-failed", "The container could not be run")
            members["log_tail"] = list(error.log_tail)
        case _:
            kind = (500, "failed", "Longshore could not do this")
    return Problem(*kind, error.message, error.hint, members, headers)


def invalid_request(errors: Sequence[Mapping[str, object]], *, hint: str = "") -> Problem:
    """Return what to tell about a request that does not fit its schema.

    Args:
        errors: pydantic's errors, each ``loc`` beginning with the part of the request.
        hint: what to do next.
    """
    told = [_told(error) for error in errors]
    where = [f"{each.get('pointer') or each.get('parameter') or 'body'}" for each in told]
    detail = "; ".join(
        f"{place}: {each['detail']}" for place, each in zip(where, told, strict=True)
    )
    return Problem(
        422, "invalid-input", "The input cannot be accepted", detail, hint, {"errors": list(told)}
    )


def unrouted(status: int, method: str, path: str, headers: Mapping[str, str] | None) -> Problem:
    """Return what to tell where no endpoint took the request, or refused it as malformed."""
    detail = {
        404: f"there is nothing at {path}",
        405: f"{path} does not take {method}",
        400: "the body cannot be read",
    }.get(status, HTTPStatus(status).phrase)
    slug = HTTPStatus(status).phrase.lower().replace(" ", "-")
    hint = "All calls are listed at /docs." if status in {404, 405} else ""
    return Problem(status, slug, HTTPStatus(status).phrase, detail, hint, headers=headers or {})


def unexpected(error: BaseException, request_id: str) -> Problem:
    """Log a defect of Longshore, and return what to tell about it: nothing of its inside."""
    log.error("request %s failed", request_id, exc_info=error)
    return Problem(
        500,
        "internal-error",
        "A defect in Longshore",
        "something went wrong inside Longshore",
        f"Its log tells more about the request {request_id}.",
    )


def _told(error: Mapping[str, object]) -> dict[str, JsonValue]:
    location = error.get("loc")
    part, *path = location if isinstance(location, tuple) and location else ("body",)
    detail = str(error.get("msg", "")).removeprefix("Value error, ")
    if part != "body":
        return {"parameter": "/".join(map(str, path)), "detail": detail}
    if error.get("type") == "json_invalid":
        return {"pointer": "", "detail": f"not JSON: error at character {path[0]}"}
    return {"pointer": pointer(path), "detail": detail}


def pointer(path: Sequence[object]) -> str:
    """Return the JSON pointer (RFC 6901) to a place in a document."""
    # pydantic marks a wrong key of a mapping by a part of its own.
    parts = [str(each) for each in path if each != "[key]"]
    return "".join("/" + each.replace("~", "~0").replace("/", "~1") for each in parts)
