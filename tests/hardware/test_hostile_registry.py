"""Registries that are broken or mean harm."""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from parts.handmade import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_CONFIG, Server, sha256
from pydantic import SecretStr

from longshore.core.errors import InvalidInput, LongshoreError, Unavailable
from longshore.core.settings import RegistryLogin, Settings
from longshore.core.types import Image
from longshore.hardware import registry_client
from longshore.hardware.manifests import Platform
from longshore.hardware.plugin import Plugin

SECRET = "swordfish"  # noqa: S105 - to see that it does not leak
MANIFEST = "/v2/iris/manifests/1"
CONFIG = b'{"os": "linux", "architecture": "amd64"}'


async def resolve(host: str, **settings: Any) -> Image:
    logins = {host: RegistryLogin(username="longshoreman", password=SecretStr(SECRET))}
    plugin = Plugin(wanted=Platform(os="linux", architecture="amd64"))
    return await plugin.longshore_resolve_image(
        f"{host}/iris:1", Settings(registries=logins, **settings)
    )


async def refusal(host: str, **settings: Any) -> LongshoreError:
    with pytest.raises((InvalidInput, Unavailable)) as caught:
        await resolve(host, **settings)
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


def manifest(config: bytes = CONFIG, **other: Any) -> bytes:
    described = {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "config": described, "layers": [], **other}).encode()


def serve(server: Server, config: bytes = CONFIG) -> None:
    server.answer(MANIFEST, manifest(config))
    server.answer(f"/v2/iris/blobs/{sha256(config)}", config)


async def test_the_server_of_these_tests_can_be_an_honest_registry(server: Server) -> None:
    serve(server)
    assert (await resolve(server.host)).digest == sha256(manifest())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the manifest of {} cannot be read: Invalid JSON"),
        (b"<html>", "the manifest of {} cannot be read: Invalid JSON"),
        (b"[" * 100_000, "the manifest of {} cannot be read: Invalid JSON"),
        (b"[]", "the manifest of {} cannot be read: Input should be an object"),
        (b"{}", "the manifest of {} is of schema 0"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "the manifest of {} is of schema 1"),
        (b'{"schemaVersion": 2}', "the manifest of {} names no configuration"),
        (manifest(manifests=[]), "claims to be an image and an index at once"),
        (b'{"schemaVersion": 2, "manifests": []}', "{} has no image for linux/amd64; it has: none"),
        (
            manifest(layers=[{"digest": "sha256:" + "0" * 64, "size": -1}]),
            "the manifest of {} cannot be read: layers.0.size",
        ),
        (
            manifest(layers=[{"digest": "../../../etc/passwd", "size": 1}]),
            "the manifest of {} cannot be read: layers.0.digest",
        ),
    ],
    ids=range(11),
)
async def test_a_manifest_that_is_none_is_refused(
    server: Server, body: bytes, message: str
) -> None:
    server.answer(MANIFEST, body)
    error = await refusal(server.host)
    assert isinstance(error, InvalidInput)
    assert message.format(f"{server.host}/iris:1") in error.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"no JSON", "the configuration of {} cannot be read: Invalid JSON"),
        (b'{"config": {"Env": "PATH=/bin"}}', "the configuration of {} cannot be read: config.Env"),
        (b'{"config": {"User": "a\\u0000b"}}', "the configuration of {} holds a NUL character"),
    ],
    ids=range(3),
)
async def test_a_configuration_that_is_none_is_refused(
    server: Server, config: bytes, message: str
) -> None:
    serve(server, config)
    assert message.format(f"{server.host}/iris:1") in (await refusal(server.host)).message


async def test_nulls_and_odd_ports_in_a_configuration_are_passed_over(server: Server) -> None:
    ports: dict[str, Any] = {
        "0/tcp": {},
        "99999": {},
        "http": {},
        "8000-8010/tcp": {},
        "81/sctp": {},
        "80/tcp": {},
    }
    odd = {"config": {"Env": ["NOTHING"], "Labels": None, "Cmd": None, "ExposedPorts": ports}}
    serve(server, json.dumps(odd).encode())
    config = (await resolve(server.host)).config
    assert (config.tcp_ports, config.env, config.cmd) == ((80,), {}, ())


async def test_a_docker_manifest_without_content_types_is_read(server: Server) -> None:
    config = {"mediaType": DOCKER_CONFIG, "digest": sha256(CONFIG), "size": len(CONFIG)}
    body = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": []}
    server.answer(MANIFEST, json.dumps(body).encode())
    server.answer(f"/v2/iris/blobs/{sha256(CONFIG)}", CONFIG)
    assert (await resolve(server.host)).platforms == ("linux/amd64",)


# --- bounds ---------------------------------------------------------------------------------------


async def test_an_endless_manifest_is_cut_off(server: Server) -> None:
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        while sent < 1 << 30:
            sent += request.wfile.write(b" " * 65536)
        return 200, {}, b""

    server.routes[MANIFEST] = endless
    error = await refusal(server.host)
    assert error.message == (
        f"registry {server.host} sent more than 4194304 bytes where a manifest or configuration "
        f"of {server.host}/iris was expected"
    )
    # What the kernel's buffers took counts too.
    assert sent < 32 << 20


async def test_a_compressed_bomb_is_not_unpacked(server: Server) -> None:
    serve(server)
    server.answer(MANIFEST, b"\x1f\x8b" + b"bomb", content_encoding="gzip")
    assert "cannot be read" in (await refusal(server.host)).message
    assert server.headers_of(MANIFEST)[0]["accept-encoding"] == "identity"


async def test_a_slow_answer_ends_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        request.send_response(200)
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b" ")
            if stop.wait(0.05):
                break
        return 200, {}, b""

    stop = threading.Event()
    monkeypatch.setattr(registry_client, "SECONDS_IN_ALL", 0.3)
    server.routes[MANIFEST] = drip
    async with asyncio.timeout(2):
        error = await refusal(server.host)
    stop.set()
    assert isinstance(error, Unavailable)
    assert error.message == (
        f"registry {server.host} does not answer: no complete answer within 0.3 s"
    )


# --- digests --------------------------------------------------------------------------------------


async def test_a_manifest_that_is_not_what_the_header_says_is_refused(server: Server) -> None:
    serve(server)
    server.answer(MANIFEST, manifest(), docker_content_digest="sha256:" + "0" * 64)
    error = await refusal(server.host)
    assert f"whose digest is {sha256(manifest())} instead of sha256:000" in error.message


async def test_a_configuration_that_is_not_its_digest_is_refused(server: Server) -> None:
    serve(server)
    server.answer(f"/v2/iris/blobs/{sha256(CONFIG)}", CONFIG.replace(b"amd64", b"arm64"))
    assert f"instead of {sha256(CONFIG)}" in (await refusal(server.host)).message


# --- redirects and logins -------------------------------------------------------------------------


async def test_endless_redirects_end(server: Server) -> None:
    server.answer(MANIFEST, status=307, location=MANIFEST)
    error = await refusal(server.host)
    assert "it redirects more than 5 times" in error.message
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("file:///etc/passwd", "it redirects from http to file, an unsafe way"),
        ("http://[::z]/", "Invalid URL in location header"),
    ],
)
async def test_redirects_lead_to_the_web_only(server: Server, location: str, words: str) -> None:
    server.answer(MANIFEST, status=302, location=location)
    assert words in (await refusal(server.host)).message


async def test_blobs_may_come_from_elsewhere_and_that_place_gets_no_credentials(
    server: Server, other_server: Server
) -> None:
    def guarded(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        if "authorization" not in request.headers:
            return 401, {"www-authenticate": 'Basic realm="x"'}, b""
        return 200, {}, manifest()

    server.routes[MANIFEST] = guarded
    blob = f"/v2/iris/blobs/{sha256(CONFIG)}"
    server.answer(blob, status=307, location=f"http://{other_server.host}/storage?signed=1")
    other_server.answer("/storage", CONFIG)
    assert (await resolve(server.host)).platforms == ("linux/amd64",)
    expected = base64.b64encode(f"longshoreman:{SECRET}".encode()).decode()
    assert server.headers_of(blob)[0]["authorization"] == f"Basic {expected}"
    assert "authorization" not in other_server.headers_of("/storage")[0]


@pytest.mark.parametrize(
    "realm",
    ["http://auth.example.com/token", "ftp://localhost/token", "/token", "", "http://["],
)
async def test_credentials_never_travel_in_clear_text_to_another_host(
    server: Server, realm: str
) -> None:
    server.answer(MANIFEST, status=401, www_authenticate=f'Bearer realm="{realm}",service="s"')
    error = await refusal(server.host)
    assert isinstance(error, Unavailable)
    assert "token service" in error.message or "which is not safe" in error.message
    assert len(server.asked) == 1


async def test_tokens_may_come_from_another_port_of_loopback(
    server: Server, other_server: Server
) -> None:
    def guarded(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        if request.headers.get("authorization") != "Bearer abc":
            realm = f"http://{other_server.host}/token?account=1"
            return 401, {"www-authenticate": f'Basic realm="x", Bearer realm="{realm}"'}, b""
        return 200, {}, manifest()

    serve(server)
    server.routes[MANIFEST] = guarded
    other_server.answer("/token", b'{"access_token": "abc"}')
    assert (await resolve(server.host)).platforms == ("linux/amd64",)
    assert other_server.asked[0][0] == "/token?account=1&scope=repository%3Airis%3Apull"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "sent no token"),
        (200, b'{"token": "a\\r\\nx-evil: 1"}', "sent no usable token"),
        (200, b'{"token": ""}', "sent no usable token"),
        (302, b"", "answered 302"),
        (500, b"", "answered 500"),
    ],
)
async def test_a_token_service_that_gives_none_is_named(
    server: Server, other_server: Server, status: int, body: bytes, words: str
) -> None:
    realm = f"http://{other_server.host}/token"
    server.answer(MANIFEST, status=401, www_authenticate=f'Bearer realm="{realm}"')
    other_server.answer("/token", body, status, location=f"http://{server.host}/stolen")
    assert f"its token service 127.0.0.1 {words}" in (await refusal(server.host)).message
    assert not server.headers_of("/stolen")


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, InvalidInput, "it refuses the login"),
        (404, InvalidInput, "has no image"),
        (429, Unavailable, "takes no more requests now (slow down)"),
        (500, Unavailable, "it answered 500 (slow down)"),
        (418, Unavailable, "it answered 418"),
    ],
)
async def test_refusals_are_told_in_words(
    server: Server, status: int, kind: type[LongshoreError], words: str
) -> None:
    said = json.dumps({"errors": [{"code": "X", "message": "slow \x1b\r\ndown"}]}).encode()
    server.answer(MANIFEST, said, status)
    error = await refusal(server.host)
    assert isinstance(error, kind)
    assert words in error.message


async def test_passwords_are_in_no_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer(MANIFEST, status=401, www_authenticate='Basic realm="x"')
    await refusal(server.host)
    sent = server.headers_of(MANIFEST)[1]["authorization"].removeprefix("Basic ")
    assert SECRET in base64.b64decode(sent).decode()
    assert SECRET not in caplog.text
    assert sent not in caplog.text
