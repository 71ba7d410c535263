"""The command line's way to a running platform: its management API over HTTP."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import httpx
from pydantic import TypeAdapter, ValidationError

from longshore.core.errors import InvalidInput, LongshoreError, Unavailable
from longshore.core.names import VersionKey
from longshore.core.settings import is_loopback
from longshore.core.types import (
    Decision,
    Event,
    Model,
    TrafficRule,
    Version,
    VersionRecord,
    VersionSpec,
    Wake,
)

DEFAULT_URL = "http://127.0.0.1:8000"

ANSWER_WITHIN = 60.0
"""Seconds for a management call; registering asks an image registry on the way."""

T = TypeVar("T")


class Problem(LongshoreError):
    """The platform refused; carries its problem document.

    Args:
        document: the document (RFC 9457).
        status: the HTTP status.
    """

    def __init__(self, document: dict[str, Any], status: int) -> None:
        detail = document.get("detail") or document.get("title") or f"HTTP status {status}"
        super().__init__(str(detail), hint=str(document.get("hint") or ""))
        self.status = status
        self.nearest = [str(each) for each in document.get("nearest") or ()]
        self.log_tail = [str(each) for each in document.get("log_tail") or ()]


class Client:
    """Calls one platform.

    Args:
        url: where it listens.
        key: sent as ``Authorization: Bearer``, if given.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        try:
            host = httpx.URL(self.url).host
            self._http = httpx.Client(
                base_url=self.url,
                headers={"authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(ANSWER_WITHIN, connect=5),
                # A proxy cannot reach this machine's loopback.
                trust_env=not is_loopback(host),
            )
        except httpx.InvalidURL as error:
            raise InvalidInput(
                f"{url!r} is no URL: {error}", hint="Write http://HOST:PORT."
            ) from error

    # --- reading ------------------------------------------------------------------------------

    def models(self) -> list[Model]:
        """Return all models with their versions."""
        return self._read_all(Model, "models", "/api/models")

    def model(self, name: str) -> Model:
        """Return one model with its versions."""
        return self._read(Model, "GET", f"/api/models/{name}")

    def version(self, key: VersionKey) -> VersionRecord:
        """Return one version."""
        return self._read(VersionRecord, "GET", _path(key))

    def decisions(self, key: VersionKey) -> list[Decision]:
        """Return what was decided about a version."""
        return self._read_all(Decision, "decisions", _path(key) + "/decisions")

    def wakes(self, key: VersionKey) -> list[Wake]:
        """Return the newest wakes of a version."""
        return self._read_all(Wake, "wakes", _path(key) + "/wakes")

    def events(self, key: VersionKey | None, limit: int) -> list[Event]:
        """Return the newest events, oldest of them first."""
        params = {"limit": str(limit), **({"version": str(key)} if key else {})}
        return self._read_all(Event, "events", "/api/events", params=params)

    @contextmanager
    def logs(self, key: VersionKey, tail: int, follow: bool) -> Iterator[Iterator[str]]:
        """Open a version's log, line by line."""
        params = {"tail": str(tail), "follow": str(follow).lower()}
        endless = httpx.Timeout(None, connect=5)
        with self._stream("GET", _path(key) + "/logs", params=params, timeout=endless) as answer:
            yield answer.iter_lines()

    # --- changing -----------------------------------------------------------------------------

    def register(self, key: VersionKey, spec: VersionSpec) -> tuple[VersionRecord, bool]:
        """Register a version; tell whether it is new."""
        answer = self._send("PUT", _path(key), json=_sent(spec))
        return _parse(VersionRecord, answer), answer.status_code == httpx.codes.CREATED

    def preflight(self, key: VersionKey, spec: VersionSpec) -> tuple[Version, list[Decision]]:
        """Work out what registering would do."""
        answer = self._send("POST", _path(key) + "/preflight", json=_sent(spec)).json()
        version = Version.model_validate(answer["version"])
        return version, TypeAdapter(list[Decision]).validate_python(answer["decisions"])

    def delete(self, name: str, version: str | None) -> list[str]:
        """Delete a version, or a model with all of them; return what was deleted."""
        path = _path(VersionKey(name, version)) if version else f"/api/models/{name}"
        deleted: list[str] = self._send("DELETE", path).json()["deleted"]
        return deleted

    def wake(self, key: VersionKey) -> VersionRecord:
        """Wake a version."""
        return self._read(VersionRecord, "POST", _path(key) + "/wake")

    def sleep(self, key: VersionKey) -> VersionRecord:
        """Put a version to sleep."""
        return self._read(VersionRecord, "POST", _path(key) + "/sleep")

    def set_traffic(self, name: str, rule: TrafficRule) -> Model:
        """Replace a model's traffic rule."""
        return self._read(Model, "PUT", f"/api/models/{name}/traffic", json=_sent(rule))

    # --- predicting ---------------------------------------------------------------------------

    @contextmanager
    def predict(
        self, name: str, version: str | None, body: bytes, headers: dict[str, str]
    ) -> Iterator[httpx.Response]:
        """Send a request to a model's predict path; yield the answer to be read as it comes."""
        middle = f"/versions/{version}" if version else ""
        path = f"/v1/models/{name}{middle}/predict"
        endless = httpx.Timeout(None, connect=5)
        with self._stream("POST", path, content=body, headers=headers, timeout=endless) as answer:
            yield answer

    # --- the wire -----------------------------------------------------------------------------

    def _read(self, kind: type[T], method: str, path: str, **options: Any) -> T:
        return _parse(kind, self._send(method, path, **options))

    def _read_all(self, kind: type[T], name: str, path: str, **options: Any) -> list[T]:
        return self._read(dict[str, list[kind]], "GET", path, **options)[name]  # type: ignore[valid-type] # known only here

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._unreachable():
            answer = self._http.request(method, path, **options)
        return _checked(answer)

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        with self._unreachable(), self._http.stream(method, path, **options) as answer:
            if not answer.is_success:
                answer.read()
            yield _checked(answer)

    @contextmanager
    def _unreachable(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unavailable(
                f"no Longshore answers at {self.url}",
                hint="Start one with: longshore up. Or name another: --url, or LONGSHORE_URL.",
            ) from error
        except httpx.UnsupportedProtocol as error:
            raise InvalidInput(f"{self.url!r} is no URL", hint="Write http://HOST:PORT.") from error
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"Longshore at {self.url} did not answer in time", hint="See its log."
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the connection to {self.url} broke off: {error}",
                hint="What was asked may or may not have happened: look with longshore models.",
            ) from error


def _path(key: VersionKey) -> str:
    # Names need no escaping; that is what their rules are for.
    return f"/api/models/{key.name}/versions/{key.version}"


def _sent(value: VersionSpec | TrafficRule) -> Any:
    return value.model_dump(mode="json", exclude_defaults=True)


def _parse(kind: type[T], answer: httpx.Response) -> T:
    try:
        return TypeAdapter(kind).validate_json(answer.content)
    except ValidationError as error:
        raise LongshoreError(
            f"{answer.url} answered something that this release does not understand",
            hint="Does a Longshore of the same release listen there?",
        ) from error


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"{answer.url} answered {answer.status_code}: {answer.text[:200]}"}
    raise Problem(document, answer.status_code)


def connect(url: str | None) -> Client:
    """Return a client for the platform that the option or the environment names."""
    return Client(
        url or os.environ.get("LONGSHORE_URL") or DEFAULT_URL, os.environ.get("LONGSHORE_API_KEY")
    )


pass_client = click.make_pass_decorator(Client)
