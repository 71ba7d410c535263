"""Progress of pulls, and what engines say when one fails."""

import base64
import json
from typing import Any

import pytest
from pydantic import SecretStr

from longshore.core.backends.causes import short, why_not_pulled
from longshore.core.settings import RegistryLogin, Settings
from longshore.plugins.engine.pull import (
    Layers,
    auth_header,
    speaks_plain_http,
)

IMAGE = "registry.example.com/iris@sha256:" + "a" * 64
LOGIN = RegistryLogin(username="ada", password=SecretStr("s3cret/ü"))


def test_progress_adds_up() -> None:
    layers = Layers("iris")
    said: list[dict[str, Any]] = [
        {"status": "Pulling from iris", "id": "sha256:aa"},
        {"status": "Already exists", "progressDetail": {}, "id": "one"},
        {"status": "Downloading", "progressDetail": {"current": 10, "total": 100}, "id": "two"},
        {"status": "Downloading", "progressDetail": {"current": 5, "total": 50}, "id": "three"},
        {"status": "Downloading", "progressDetail": {"current": 60, "total": 100}, "id": "two"},
    ]
    for message in said:
        layers.feed(message)
    assert (layers.progress.done, layers.progress.total) == (65, 150)
    layers.feed({"status": "Download complete", "progressDetail": {}, "id": "two"})
    layers.feed(
        {"status": "Extracting", "progressDetail": {"current": 1, "total": 100}, "id": "two"}
    )
    assert (layers.progress.done, layers.progress.total) == (105, 150)
    # Podman's own messages have no id.
    layers.feed({"stream": "Copying blob sha256:aa\n"})
    assert layers.progress.what == "pulling iris"


@pytest.mark.parametrize(
    ("message", "login", "reason"),
    [
        ("reading manifest x: manifest unknown: manifest unknown", None, "is not in the registry"),
        ("manifest for iris@sha256:aa not found: manifest unknown", None, "is not in the registry"),
        ("name unknown: repository name not known to registry", None, "is not in the registry"),
        ("unauthorized: authentication required", None, "wants a login"),
        ("Head https://x: no basic auth credentials", None, "wants a login"),
        ("pull access denied for iris, repository does not exist", None, "wants a login"),
        ("unauthorized: authentication required", LOGIN, "refuses .* to the user 'ada'"),
        ("received unexpected HTTP status: 403 Forbidden", LOGIN, "refuses"),
        ("http: server gave HTTP response to HTTPS client", None, "speaks plain HTTP"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", None, "cannot be reached"),
        ("dial tcp: lookup registry.example.com: no such host", None, "cannot be reached"),
        ("x509: certificate signed by unknown authority", None, "no certificate to trust"),
        ("write /var/lib/x: no space left on device", None, "no room on the disk"),
        ("something odd", None, "could not pull registry.example.com/iris@sha256:aa"),
    ],
)
def test_reasons(message: str, login: RegistryLogin | None, reason: str) -> None:
    failed = why_not_pulled(IMAGE, message, login)
    with pytest.raises(type(failed), match=reason):
        raise failed
    assert "s3cret" not in failed.message + failed.hint


def test_braces_in_messages_are_no_templates() -> None:
    assert "{oops}" in why_not_pulled(IMAGE, "odd {oops}", None).message


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:5001", True),
        ("127.0.0.1:5001", True),
        ("[::1]:5001", True),
        ("plain.example.com:5000", True),
        ("plain.example.com", False),
        ("docker.io", False),
    ],
)
def test_plain_http(host: str, expected: bool) -> None:
    settings = Settings(insecure_registries=("plain.example.com:5000",))
    assert speaks_plain_http(host, settings) is expected


def test_auth_header() -> None:
    assert json.loads(base64.urlsafe_b64decode(auth_header("r:5000", LOGIN))) == {
        "username": "ada",
        "password": "s3cret/ü",
        "serveraddress": "r:5000",
    }


def test_short() -> None:
    assert short(IMAGE) == "registry.example.com/iris@sha256:aaaaaaaaaaaa"
