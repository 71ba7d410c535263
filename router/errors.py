"""Why a request gets no answer from a model. Each error knows its status and what it tells."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Literal

from pydantic import JsonValue

from longshore.core.errors import LongshoreError
from longshore.core.names import VersionKey
from longshore.core.routes import VersionRoute
from longshore.core.types import State

Phase = Literal["connect", "first byte", "total"]


class RequestError(LongshoreError):
    """A request that the router itself answers.

    Args:
        message: what happened and why.
        hint: what to do next.
        retry_after: seconds after which trying again makes sense; None where it does not.
        members: what programs may want to read; members of the problem document.
    """

    status: int
    slug: ClassVar[str]
    """The last part of the problem's type."""
    title: ClassVar[str]
    extra_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after: int | None = None,
        members: Mapping[str, JsonValue] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.members = dict(members or {})

    @property
    def headers(self) -> dict[str, str]:
        """The headers that its answer carries besides the usual ones."""
        headers = dict(self.extra_headers)
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        return headers


class NotReady(RequestError):
    """No replica of the version is ready.

    Args:
        route: of the version.
        now: seconds since the epoch.
    """

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "not-ready"
    title = "The version is not ready"

    def __init__(self, route: VersionRoute, now: float) -> None:
        key, state, reason = route.version.key, route.state, route.reason
        said = {State.READY: f"{key} has no replica", State.FAILED: f"{key} failed"}.get(
            state, f"{key} is {state.value}"
        )
        super().__init__(
            f"{said}: {reason}" if reason else f"{said} and cannot answer now",
            hint=route.hint or _advice(key, state),
            retry_after=_again(route, now),
            members={"model": key.name, "version": key.version, "state": state.value},
        )
        if reason:
            self.members["reason"] = reason


class Busy(RequestError):
    """All replicas have as many requests in flight as they may."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "busy"
    title = "All replicas are busy"

    def __init__(self, key: VersionKey, replicas: int, concurrency: int) -> None:
        super().__init__(
            f"all {replicas} replicas of {key} have {concurrency} requests in flight, "
            "which is their limit",
            hint="Try again later, or register a version with a larger limits.concurrency "
            "or more replicas.",
            retry_after=1,
            members={"model": key.name, "version": key.version},
        )


class Waking(RequestError):
    """The version is on its way to readiness, and the request cannot wait for it any more."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "waking"
    title = "The version is being woken"

    def __init__(self, key: VersionKey, what: str, retry_after: int) -> None:
        super().__init__(
            f"{key} is being woken, {what}",
            hint="Try again after the seconds that the header retry-after tells, by what earlier "
            f"wakes took. How far it is: longshore show {key}.",
            retry_after=retry_after,
            members={"model": key.name, "version": key.version},
        )


class Unreachable(RequestError):
    """Replicas are there, but none took the request's connection as long as it waited."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "unreachable"
    title = "No replica takes connections"

    def __init__(self, key: VersionKey, what: str, last: str) -> None:
        super().__init__(
            f"no replica of {key} took the connection {what}; the last time: {last}",
            hint="Nothing of the request was sent, so it may be tried again. What the replicas are "
            f"at: longshore show {key}, longshore logs {key}",
            retry_after=1,
            members={"model": key.name, "version": key.version},
        )


class BodyTooLarge(RequestError):
    """The request's body crosses the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "body-too-large"
    title = "The request's body is too large"

    def __init__(self, limit: int, hint: str) -> None:
        super().__init__(
            f"the body is larger than {limit} bytes", hint=hint, members={"limit": limit}
        )


class TimedOut(RequestError):
    """The replica was slower than the version's limits allow."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    slug = "time-out"
    title = "The model did not answer in time"

    def __init__(self, key: VersionKey, phase: Phase, seconds: float) -> None:
        late = {
            "connect": "a replica of {} did not accept the connection within {:g} s",
            "first byte": "{} did not begin to answer within {:g} s of the whole request",
            "total": "the exchange with {} was not over within {:g} s",
        }[phase]
        setting = "limits." + phase.replace(" ", "_")
        super().__init__(
            late.format(key, seconds),
            hint=f"See its log: longshore logs {key}. The limit is the version's {setting}.",
            members={"phase": phase, "limit": seconds},
        )


class ReplicaFailed(RequestError):
    """The replica refused the connection, or ended it without a complete answer."""

    status = HTTPStatus.BAD_GATEWAY
    slug = "replica-failed"
    title = "The model's container gave no usable answer"

    def __init__(self, key: VersionKey, replica: str, what: str, *, sent: bool = True) -> None:
        once = " The request may have reached the model, so Longshore did not send it again."
        super().__init__(
            f"replica {replica} of {key} {what}",
            hint=f"See its log: longshore logs {key}.{once if sent else ''}",
            members={"model": key.name, "version": key.version, "replica": replica},
        )


class ContainerError(RequestError):
    """The container answered a uniform call with something else than success."""

    status: int = HTTPStatus.BAD_GATEWAY
    slug = "container-error"
    title = "The model's container refused the request"

    def __init__(self, key: VersionKey, status: int, excerpt: str) -> None:
        super().__init__(
            f"the container of {key} answered with status {status}",
            hint=f"body_excerpt is what it said; its log may tell more: longshore logs {key}",
            members={"container_status": status, "body_excerpt": excerpt},
        )
        if status >= HTTPStatus.BAD_REQUEST:
            self.status = status


class Unauthenticated(RequestError):
    """Nobody recognises the caller."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthenticated"
    title = "Who are you?"
    extra_headers: ClassVar[Mapping[str, str]] = {"www-authenticate": "Bearer"}


class Forbidden(RequestError):
    """The call could come from a foreign web page."""

    status = HTTPStatus.FORBIDDEN
    slug = "forbidden"
    title = "Refused"


class NotSupported(RequestError):
    """Longshore cannot do this yet."""

    status = HTTPStatus.NOT_IMPLEMENTED
    slug = "not-supported"
    title = "Not supported"


def _again(route: VersionRoute, now: float) -> int | None:
    """Return after how many seconds it may be otherwise; None where somebody has to act first."""
    match route.state:
        case State.FAILED:
            # Whoever comes as the next try begins hears at least how far that is.
            return max(1, math.ceil(route.retry_at.timestamp() - now)) if route.retry_at else None
        case State.ASLEEP | State.COLLECTED:
            return None
        case _:
            return 2


def _advice(key: VersionKey, state: State) -> str:
    match state:
        case State.ASLEEP | State.COLLECTED:
            return f"Wake it: longshore wake {key}"
        case State.FAILED:
            return f"See why: longshore show {key}, longshore logs {key}"
        case _:
            return f"Wait a moment and try again; longshore show {key} tells how far it is."
