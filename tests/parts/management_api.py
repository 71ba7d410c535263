"""A stand-in for a running platform: a real HTTP server on loopback that answers like the API.

It keeps state and records what it was asked; what a version becomes is played from a list. The
same commands against the real platform are in tests/system.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from examples_of import NOON, version

from longshore.core.measures import Measured
from longshore.core.names import VersionKey
from longshore.core.types import (
    Decision,
    Event,
    Model,
    State,
    TrafficRule,
    VersionRecord,
    VersionStatus,
    Wake,
    Wish,
)

DECISIONS = [
    Decision(
        hook="longshore_resolve_image",
        plugin="images",
        outcome="localhost:5001/iris@sha256:" + "a" * 64,
        inputs={"reference": "localhost:5001/iris:1"},
        why="what the reference named",
        at=NOON,
    ),
    Decision(
        hook="longshore_plan_hardware", plugin="hardware_plan", outcome={"target": "cpu"}, at=NOON
    ),
]


@dataclass
class Request:
    """What the server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What it says; pieces of a body are sent one by one."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    kind: str = "application/json"
    broken: bool = False
    """Promise more than is sent, and close."""


def problem(status: int, detail: str, **members: object) -> Answer:
    document = {"type": "urn:longshore:problem:x", "title": "x", "status": status, "detail": detail}
    return Answer(status, json.dumps({**document, **members}).encode(), "application/problem+json")


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def _dump(value: Any) -> Any:
    return value.model_dump(mode="json")


@dataclass
class StandIn:
    """The state, and the rules of the API."""

    records: dict[VersionKey, VersionRecord] = field(default_factory=dict)
    rules: dict[str, TrafficRule] = field(default_factory=dict)
    plays: dict[VersionKey, list[VersionStatus]] = field(default_factory=dict)
    """What each next look at a version tells; the last stays."""
    starts_as: Sequence[VersionStatus] = (VersionStatus(state=State.READY, replicas=1, ready=1),)
    """What a version becomes that is registered or woken."""
    logs: Callable[[], bytes | Iterator[bytes]] = lambda: b"one\ntwo\n"
    predict: Callable[[Request], Answer] = lambda request: Answer(body=request.body)
    measures: Sequence[Measured] = ()
    """What was measured, of whatever image."""
    intercept: Callable[[Request], Answer | None] = lambda request: None
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def add(self, name: str, number: str, **status: object) -> VersionKey:
        key = VersionKey(name, number)
        known = VersionStatus.model_validate(
            {"state": "ready", "replicas": 1, "ready": 1, "since": NOON, **status}
        )
        self.records[key] = VersionRecord(version=version(name, number), status=known)
        return key

    def model(self, name: str) -> Model | None:
        versions = tuple(record for key, record in self.records.items() if key.name == name)
        rule = self.rules.get(name, TrafficRule())
        return (
            Model(name=name, traffic=rule, created_at=NOON, versions=versions) if versions else None
        )

    def asked(self, method: str) -> list[Request]:
        return [each for each in self.requests if each.method == method]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if intercepted := self.intercept(request):
            return intercepted
        return self._routed(request)

    def _routed(self, request: Request) -> Answer:  # noqa: PLR0911 - one for each call
        path = urlsplit(request.path)
        match path.path.strip("/").split("/"):
            case ["v1", *_]:
                return self.predict(request)
            case ["api", "events"]:
                return self._events(parse_qs(path.query))
            case ["api", "measures", _]:
                return _json({"measures": [_dump(each) for each in self.measures]})
            case ["api", "models"]:
                names = sorted({self._look(key).version.key.name for key in self.records})
                return _json({"models": [_dump(self.model(name)) for name in names]})
            case ["api", "models", name, *rest] if (model := self.model(name)) or rest[:1] == [
                "versions"
            ]:
                return self._of_model(request, name, model, rest)
            case ["api", "models", name, *_]:
                return problem(404, f"there is no model {name!r}", nearest=["iris"])
        return Answer(404, b"<h1>Not Found</h1>", "text/html")

    def _of_model(
        self, request: Request, name: str, model: Model | None, rest: list[str]
    ) -> Answer:
        match request.method, rest:
            case "GET", []:
                return _json(_dump(model))
            case "DELETE", []:
                gone = [key for key in self.records if key.name == name]
                for key in gone:
                    del self.records[key]
                return _json({"deleted": [str(key) for key in gone]})
            case "PUT", ["traffic"]:
                self.rules[name] = TrafficRule.model_validate_json(request.body)
                return _json(_dump(self.model(name)))
            case method, ["versions", number, *what]:
                return self._of_version(request, method, VersionKey(name, number), what)
        return Answer(405)

    def _of_version(
        self, request: Request, method: str, key: VersionKey, what: list[str]
    ) -> Answer:
        if method == "PUT" or what == ["preflight"]:
            return self._register(request, key, dry=bool(what))
        if key not in self.records:
            return problem(404, f"there is no version '{key}'", nearest=["iris:1"])
        return self._of_known(method, key, what)

    def _register(self, request: Request, key: VersionKey, *, dry: bool) -> Answer:
        new = version(key.name, key.version, **json.loads(request.body))
        if dry:
            return _json({"version": _dump(new), "decisions": [_dump(each) for each in DECISIONS]})
        created = key not in self.records
        if created:
            self.records[key] = VersionRecord(version=new)
            self.plays[key] = list(self.starts_as)
        return _json(_dump(self.records[key]), 201 if created else 200)

    def _of_known(self, method: str, key: VersionKey, what: list[str]) -> Answer:  # noqa: PLR0911 - one for each call
        match method, what:
            case "GET", []:
                return _json(_dump(self._look(key)))
            case "DELETE", []:
                del self.records[key]
                return _json({"deleted": [str(key)]})
            case "POST", ["wake"]:
                self._change(key, wish=Wish.RUN)
                self.plays[key] = list(self.starts_as)
                return _json(_dump(self.records[key]), 202)
            case "POST", ["sleep"]:
                self._change(key, wish=Wish.SLEEP)
                return _json(_dump(self.records[key]), 202)
            case "GET", ["logs"]:
                return Answer(body=self.logs(), kind="text/plain; charset=utf-8")
            case "GET", ["decisions"]:
                return _json({"decisions": [_dump(each) for each in DECISIONS]})
            case "GET", ["wakes"]:
                return _json({"wakes": [_dump(Wake(key=key, asked_at=NOON, reason="woken"))]})
        return Answer(405)

    def _look(self, key: VersionKey) -> VersionRecord:
        if play := self.plays.get(key):
            self._change(key, status=play[0] if len(play) == 1 else play.pop(0))
        return self.records[key]

    def _change(self, key: VersionKey, **fields: object) -> None:
        self.records[key] = self.records[key].model_copy(update=fields)

    def _events(self, query: dict[str, list[str]]) -> Answer:
        keys = [str(key) for key in self.records if str(key) in query.get("version", [str(key)])]
        told = [
            Event(kind="ready", key=VersionKey.parse(key), message="1 replica is ready", at=NOON)
            for key in keys
        ]
        return _json({"events": [_dump(each) for each in told][: int(query["limit"][0])]})


@contextmanager
def running(state: StandIn, port: int = 0) -> Iterator[StandIn]:
    """Serve the state on a free port of loopback, or on a given one, while the context is open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._say(state.answer(Request(self.command, self.path, headers, body)))

        def _say(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("content-type", answer.kind)
            if isinstance(answer.body, bytes):
                self.send_header("content-length", str(len(answer.body) + 10 * answer.broken))
                self.end_headers()
                self.wfile.write(answer.body)
            else:
                self.send_header("connection", "close")
                self.end_headers()
                for piece in answer.body:
                    self.wfile.write(piece)
            self.close_connection = self.close_connection or answer.broken

        def log_message(self, *_: object) -> None:
            pass

    connections: list[socket.socket] = []

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            connections.append(connection)
            return connection, address

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that leave are what some tests are about."""

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()
