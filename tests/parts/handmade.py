"""Images made by hand over a registry's HTTP API, and a server that answers whatever is wanted."""

import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Pushed:
    """What stands in a registry now."""

    digest: str
    size: int
    media_type: str


@dataclass
class RunningRegistry:
    """A docker-registry program, and how to put images into it."""

    host: str
    scheme: str = "http"
    trust: Path | None = None
    auth: tuple[str, str] | Callable[[httpx.Request], httpx.Request] | None = None

    def client(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=self.trust)
        base = f"{self.scheme}://{self.host}"
        return httpx.Client(base_url=base, auth=self.auth, verify=trust, trust_env=False)

    def blob(self, name: str, content: bytes) -> str:
        digest = sha256(content)
        with self.client() as http:
            where = http.post(f"/v2/{name}/blobs/uploads/").headers["location"]
            http.put(
                httpx.URL(where).copy_merge_params({"digest": digest}), content=content
            ).raise_for_status()
        return digest

    def manifest(self, name: str, tag: str, content: Mapping[str, Any]) -> Pushed:
        body = json.dumps(content).encode()
        with self.client() as http:
            http.put(
                f"/v2/{name}/manifests/{tag}",
                content=body,
                headers={"content-type": content["mediaType"]},
            ).raise_for_status()
        return Pushed(sha256(body), len(body), content["mediaType"])

    def image(
        self,
        name: str,
        tag: str,
        config: Mapping[str, Any],
        *,
        layers: tuple[bytes, ...] = (b"layer",),
        annotations: tuple[Mapping[str, str], ...] = (),
        media_type: str = OCI_MANIFEST,
        config_type: str = OCI_CONFIG,
    ) -> Pushed:
        body = json.dumps(config).encode()
        content = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": config_type,
                "digest": self.blob(name, body),
                "size": len(body),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": self.blob(name, layer),
                    "size": len(layer),
                    **({"annotations": noted} if noted else {}),
                }
                for layer, noted in zip_longest(layers, annotations)
            ],
        }
        return self.manifest(name, tag, content)

    def index(
        self,
        name: str,
        tag: str,
        images: Mapping[str, Pushed],
        *,
        media_type: str = OCI_INDEX,
    ) -> Pushed:
        entries = []
        for wanted, image in images.items():
            words = dict(zip(("os", "architecture", "variant"), wanted.split("/"), strict=False))
            entries.append(
                {
                    "mediaType": image.media_type,
                    "digest": image.digest,
                    "size": image.size,
                    "platform": words,
                }
            )
        return self.manifest(
            name, tag, {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
        )


Route = Callable[[BaseHTTPRequestHandler], tuple[int, Mapping[str, str], bytes]]


@dataclass
class Server:
    """An HTTP server that answers whatever a test wants."""

    host: str
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Path with query, and headers in lowercase, of every request."""

    def answer(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> None:
        told = {name.replace("_", "-"): text for name, text in headers.items()}
        self.routes[path] = lambda _: (status, told, body)

    def headers_of(self, path: str) -> list[Mapping[str, str]]:
        return [headers for asked, headers in self.asked if urlsplit(asked).path == path]


@contextmanager
def run_server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            route = server.routes.get(urlsplit(self.path).path)
            status, headers, body = route(self) if route else (404, {}, b"")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing: clients that hang up are what these tests are about."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server = Server(f"127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
