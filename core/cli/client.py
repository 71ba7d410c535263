"""The command line's way to a running platform: its management API over HTTP."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from longshore.core.cli.problems import check, foreign
from longshore.core.collection import Collection
from longshore.core.errors import Unavailable
from longshore.core.measures import Measured
from longshore.core.names import VersionKey
from longshore.core.settings import is_loopback
from longshore.core.types import (
    Decision,
    Event,
    KnownNode,
    Model,
    TrafficRule,
    Version,
    VersionRecord,
    VersionSpec,
    Wake,
)

_CONNECT = 5.0
"""Seconds to reach the platform."""
_READ = 30.0
"""Seconds for an answer about what is registered."""
_PLAN = 300.0
"""Seconds for a registration: it asks an image registry on the way."""

M = TypeVar("M", bound=BaseModel)


class _Models(BaseModel):
    models: list[Model]


class _Nodes(BaseModel):
    nodes: list[KnownNode]


class _Measures(BaseModel):
    measures: list[Measured]


class _Decisions(BaseModel):
    decisions: list[Decision]


class _Wakes(BaseModel):
    wakes: list[Wake]


class _Events(BaseModel):
    events: list[Event]


class _Plan(BaseModel):
    version: Version
    decisions: list[Decision]


class _Deleted(BaseModel):
    deleted: list[str]


class Client:
    """Calls one platform; all but ``predict`` may be called again without harm.

    All methods may raise ``Problem`` where the platform refuses, and ``Unavailable`` where nobody
    answers.

    Args:
        url: where it listens.
        key: sent as ``Authorization: Bearer``, if given.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        there = httpx.URL(url)
        self._http = httpx.Client(
            base_url=url,
            # Answers are printed as they come, so nobody should pack them.
            headers={
                b"accept-encoding": b"identity",
                **({b"authorization": b"Bearer " + key.strip().encode()} if key else {}),
            },
            # Certificates take 50 ms to load, and without TLS nobody looks at them.
            verify=there.scheme == "https",
            # A proxy cannot reach this machine's loopback.
            trust_env=not is_loopback(there.host),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # --- reading ------------------------------------------------------------------------------

    def models(self) -> list[Model]:
        """Return all models with their versions, by name."""
        return _parsed(_Models, self._send("GET", "/api/models")).models

    def nodes(self) -> list[KnownNode]:
        """Return the nodes of all backends, and what is known of each."""
        return _parsed(_Nodes, self._send("GET", "/api/nodes")).nodes

    def measures(self, digest: str) -> list[Measured]:
        """Return what was measured of an image, by its digest; the newest first."""
        return _parsed(_Measures, self._send("GET", f"/api/measures/{digest}")).measures

    def model(self, name: str) -> Model:
        """Return one model with its versions, oldest first."""
        return _parsed(Model, self._send("GET", f"/api/models/{name}"))

    def version(self, key: VersionKey) -> VersionRecord:
        """Return one version."""
        return _parsed(VersionRecord, self._send("GET", _path(key)))

    def decisions(self, key: VersionKey) -> list[Decision]:
        """Return what was decided about a version, oldest first."""
        return _parsed(_Decisions, self._send("GET", _path(key, "/decisions"))).decisions

    def wakes(self, key: VersionKey) -> list[Wake]:
        """Return the newest wakes of a version, oldest of them first."""
        return _parsed(_Wakes, self._send("GET", _path(key, "/wakes"))).wakes

    def events(self, key: VersionKey | None, limit: int) -> list[Event]:
        """Return the newest events, oldest of them first."""
        params = {"limit": str(limit), **({"version": str(key)} if key else {})}
        return _parsed(_Events, self._send("GET", "/api/events", params=params)).events

    @contextmanager
    def logs(self, key: VersionKey, tail: int, follow: bool) -> Iterator[httpx.Response]:
        """Open a version's log, to be read as it comes."""
        params = {"tail": str(tail), "follow": str(follow).lower()}
        within = None if follow else _READ
        with self._stream("GET", _path(key, "/logs"), within, params=params) as answer:
            yield check(answer)

    # --- changing -----------------------------------------------------------------------------

    def register(
        self, key: VersionKey, spec: VersionSpec, *, force: bool = False
    ) -> tuple[VersionRecord, bool]:
        """Register a version, though no node fits if forced; tell whether it is new."""
        answer = self._send("PUT", _path(key), _PLAN, json=_sent(spec), params=_forced(force))
        return _parsed(VersionRecord, answer), answer.status_code == httpx.codes.CREATED

    def preflight(
        self, key: VersionKey, spec: VersionSpec, *, force: bool = False
    ) -> tuple[Version, list[Decision]]:
        """Work out what registering would do."""
        path = _path(key, "/preflight")
        answer = self._send("POST", path, _PLAN, json=_sent(spec), params=_forced(force))
        plan = _parsed(_Plan, answer)
        return plan.version, plan.decisions

    def delete(self, key: VersionKey) -> list[str]:
        """Delete a version, and its model with the last one; return what was deleted."""
        return _parsed(_Deleted, self._send("DELETE", _path(key))).deleted

    def delete_model(self, name: str) -> list[str]:
        """Delete a model with all its versions; return what was deleted."""
        return _parsed(_Deleted, self._send("DELETE", f"/api/models/{name}")).deleted

    def wake(self, key: VersionKey) -> VersionRecord:
        """Wake a version."""
        return _parsed(VersionRecord, self._send("POST", _path(key, "/wake")))

    def sleep(self, key: VersionKey) -> VersionRecord:
        """Put a version to sleep."""
        return _parsed(VersionRecord, self._send("POST", _path(key, "/sleep")))

    def pin(self, key: VersionKey, *, pinned: bool) -> VersionRecord:
        """Pin a version, so that it is never collected, or let go of it."""
        answer = self._send("POST", _path(key, "/pin" if pinned else "/unpin"))
        return _parsed(VersionRecord, answer)

    def plan_collection(self) -> Collection:
        """Tell what would be collected."""
        return _parsed(Collection, self._send("GET", "/api/collection"))

    def collect(self) -> Collection:
        """Collect what is unused."""
        return _parsed(Collection, self._send("POST", "/api/collection"))

    def set_traffic(self, name: str, rule: TrafficRule) -> Model:
        """Replace a model's traffic rule."""
        answer = self._send("PUT", f"/api/models/{name}/traffic", json=_sent(rule))
        return _parsed(Model, answer)

    # --- predicting ---------------------------------------------------------------------------

    @contextmanager
    def predict(
        self,
        name: str,
        version: str | None,
        body: bytes | IO[bytes],
        headers: Mapping[bytes, bytes],
    ) -> Iterator[httpx.Response]:
        """Send a request to a model; yield the answer, whatever its status, to be read."""
        path = f"/v1/models/{name}{f'/versions/{version}' if version else ''}/predict"
        with self._stream("POST", path, None, content=body, headers=headers) as answer:
            yield answer

    # --- the wire -----------------------------------------------------------------------------

    def _send(
        self, method: str, path: str, within: float | None = None, **options: Any
    ) -> httpx.Response:
        with self._told():
            timeout = httpx.Timeout(within or _READ, connect=_CONNECT)
            return check(self._http.request(method, path, timeout=timeout, **options))

    @contextmanager
    def _stream(
        self, method: str, path: str, within: float | None, **options: Any
    ) -> Iterator[httpx.Response]:
        timeout = httpx.Timeout(within, connect=_CONNECT)
        with (
            self._told(),
            self._http.stream(method, path, timeout=timeout, **options) as answer,
        ):
            yield answer

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what can go wrong on the way into words."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = re.sub(r"\[(Errno|SSL).*?\] ", "", str(error)) or "no answer"
            raise Unavailable(
                f"no Longshore answers at {self.url} ({reason})",
                hint="Start one with: longshore up. Or name another with --url or LONGSHORE_URL.",
            ) from error
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"Longshore at {self.url} took the call and did not answer in time",
                hint="Its own log may tell why.",
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the connection to {self.url} broke off: {error}",
                hint="If it was stopped, start it again with: longshore up",
            ) from error


def _path(key: VersionKey, rest: str = "") -> str:
    # Names need no escaping; that is what their rules are for.
    return f"/api/models/{key.name}/versions/{key.version}{rest}"


def _forced(force: bool) -> dict[str, str]:
    return {"force": "true"} if force else {}


def _sent(value: VersionSpec | TrafficRule) -> Any:
    return value.model_dump(mode="json", exclude_unset=True)


def _parsed(kind: type[M], answer: httpx.Response) -> M:
    try:
        # A newer platform may tell more than this release knows of.
        return kind.model_validate_json(answer.content, extra="ignore")
    except ValidationError as error:
        raise foreign(answer, "something that this release does not understand") from error
