"""Real registries: one open, one with passwords, one with tokens; and servers that lie."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from parts.handmade import RunningRegistry, Server, run_server

USER, PASSWORD = "longshoreman", "corr=ect:horse"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=longshore"),
            *("-addext", "subjectAltName=IP:0.0.0.0,IP:127.0.0.1", "-days", "2"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


@contextmanager
def run_registry(
    folder: Path, *, deletes: bool = False, **settings: Any
) -> Iterator[RunningRegistry]:
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("no docker-registry on PATH: apt-get install docker-registry")
    port = free_port()
    http = {"addr": f"127.0.0.1:{port}", **settings.pop("http", {})}
    settings |= {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": deletes},
        },
        "http": http,
    }
    configuration = folder / "registry.json"
    # JSON is YAML, too.
    configuration.write_text(json.dumps(settings))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program, "serve", configuration], stdout=log, stderr=log) as process,
    ):
        try:
            _wait_for(port, process)
            yield RunningRegistry(f"localhost:{port}")
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("docker-registry did not start")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with run_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@contextmanager
def run_password_registry(folder: Path, *, deletes: bool = False) -> Iterator[RunningRegistry]:
    line = subprocess.run(
        ["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True
    ).stdout
    (folder / "htpasswd").write_bytes(line)
    auth = {"htpasswd": {"realm": "longshore", "path": str(folder / "htpasswd")}}
    with run_registry(folder, deletes=deletes, auth=auth) as running:
        running.auth = (USER, PASSWORD)
        yield running


@pytest.fixture(scope="session")
def password_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with run_password_registry(tmp_path_factory.mktemp("password-registry")) as running:
        yield running


@pytest.fixture(scope="session")
def deleting_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with run_password_registry(tmp_path_factory.mktemp("deleting"), deletes=True) as running:
        yield running


@pytest.fixture
def server() -> Iterator[Server]:
    with run_server() as running:
        yield running


@pytest.fixture
def other_server() -> Iterator[Server]:
    with run_server() as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningRegistry, Path]]:
    """A registry that speaks HTTPS at an address beyond loopback, and its certificate."""
    folder = tmp_path_factory.mktemp("tls-registry")
    key, certificate = make_certificate(folder)
    tls = {"certificate": str(certificate), "key": str(key)}
    with run_registry(folder, http={"tls": tls}) as running:
        host = running.host.replace("localhost", "0.0.0.0")  # noqa: S104 - nothing listens there
        yield RunningRegistry(host, scheme="https", trust=certificate), certificate


@dataclass
class TokenRegistry:
    """A registry that wants bearer tokens, and the service that gives them."""

    registry: RunningRegistry
    service: Server


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenRegistry]:
    folder = tmp_path_factory.mktemp("token-registry")
    key, certificate = make_certificate(folder)
    pem = certificate.read_text().splitlines()
    der = "".join(line for line in pem if not line.startswith("-"))

    def issue(name: str, action: str) -> str:
        head = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
        now = int(time.time())
        claims = {
            "iss": "longshore-test",
            "sub": "",
            "aud": "the-registry",
            "nbf": now - 60,
            "exp": now + 300,
            "jti": "1",
            "access": [{"type": "repository", "name": name, "actions": action.split(",")}],
        }
        signed = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(key)],
            input=signed.encode(),
            check=True,
            capture_output=True,
        ).stdout
        return f"{signed}.{_base64(signature)}"

    def signed(request: httpx.Request) -> httpx.Request:
        name = request.url.path.removeprefix("/v2/").partition("/blobs")[0].partition("/manif")[0]
        request.headers["authorization"] = f"Bearer {issue(name, 'pull,push')}"
        return request

    def token(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != expected:
            return 401, {}, b"{}"
        scope = parse_qs(urlsplit(request.path).query)["scope"][0]
        _, name, action = scope.split(":")
        return 200, {}, json.dumps({"token": issue(name, action)}).encode()

    with run_server() as service:
        service.routes["/token"] = token
        auth = {
            "token": {
                "realm": f"http://{service.host}/token",
                "service": "the-registry",
                "issuer": "longshore-test",
                "rootcertbundle": str(certificate),
            }
        }
        with run_registry(folder, auth=auth) as running:
            running.auth = signed
            yield TokenRegistry(running, service)


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
