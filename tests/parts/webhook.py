"""An admission webhook that runs here, and refuses everything that the API server asks it about."""

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from parts.aggregated import own_address, self_signed
from parts.kubectl import Kubectl


class _Refusing(BaseHTTPRequestHandler):
    message = ""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        """Refuse an AdmissionReview."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        response = {
            "uid": asked["request"]["uid"],
            "allowed": False,
            "status": {"code": 403, "message": self.message},
        }
        content = json.dumps(
            {"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": response}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def refusing(directory: Path, message: str) -> Iterator[tuple[str, Path]]:
    """Run the webhook while the context is open; yield its URL and the certificate to trust."""
    host = own_address()
    made, key = self_signed(directory, "webhook", f"IP:{host}")
    handler = type("Refusing", (_Refusing,), {"message": message})
    server = ThreadingHTTPServer((host, 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"https://{host}:{server.server_port}/", made
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@contextmanager
def asked_first(kubectl: Kubectl, resource: str, url: str, authority: Path) -> Iterator[str]:
    """Let the API server ask a webhook about one kind of object in one namespace; yield its name.

    Args:
        kubectl: of the namespace, which has to be there.
        resource: ``pods`` or ``deployments``.
        url: of the webhook, which need not answer.
        authority: its certificate.
    """
    name = f"{kubectl.namespace}.example.com"
    group = {"pods": "", "deployments": "apps"}[resource]
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]}
    there = {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}}
    webhook = {
        "name": name,
        "clientConfig": {"url": url, "caBundle": b64encode(authority.read_bytes()).decode()},
        "rules": [{**rule, "operations": ["CREATE", "UPDATE"]}],
        "namespaceSelector": there,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1"],
    }
    kubectl.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": kubectl.namespace},
            "webhooks": [webhook],
        }
    )
    try:
        yield name
    finally:
        kind = "validatingwebhookconfiguration"
        kubectl.run("delete", kind, kubectl.namespace, "--ignore-not-found")
