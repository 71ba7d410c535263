"""Reading images from registries that are slow, break off or lie; and what is kept of them."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from parts.handmade import OCI_CONFIG, OCI_INDEX, RunningRegistry, Server, sha256
from parts.layers import gzipped, package, tar

from longshore.core.settings import Settings
from longshore.core.types import Confidence, Evidence, Progress
from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.layers import Layer, LayerReader
from longshore.hardware.manifests import Platform
from longshore.hardware.plugin import Plugin

AMD64 = Platform(os="linux", architecture="amd64")
CONFIG: Mapping[str, Any] = {"os": "linux", "architecture": "amd64", "config": {}}
CONFIG_BYTES = json.dumps(CONFIG).encode()


async def facts_of(
    reference: str, state: Path, wanted: Platform = AMD64, **bounds: Any
) -> Mapping[str, Evidence]:
    plugin = Plugin(ImagesSettings(**bounds), wanted=wanted)
    settings = Settings(state=state)
    image = await plugin.longshore_resolve_image(reference, settings)
    return await plugin.longshore_profile_image(image, settings, lambda _: None)


def scan_of(facts: Mapping[str, Evidence]) -> dict[str, Any]:
    value = facts["scan"].value
    assert isinstance(value, dict)
    return value


def serve(server: Server, *layers: bytes, sizes: Sequence[int] = ()) -> str:
    """Let a server be a registry with one image; return its reference."""
    described = [
        {"mediaType": "x", "digest": sha256(layer), "size": size}
        for layer, size in zip(layers, sizes or map(len, layers), strict=True)
    ]
    config = {"mediaType": OCI_CONFIG, "digest": sha256(CONFIG_BYTES), "size": len(CONFIG_BYTES)}
    content = {"schemaVersion": 2, "config": config, "layers": described}
    server.answer("/v2/iris/manifests/1", json.dumps(content).encode())
    server.answer(f"/v2/iris/blobs/{sha256(CONFIG_BYTES)}", CONFIG_BYTES)
    for layer in layers:
        server.answer(f"/v2/iris/blobs/{sha256(layer)}", layer)
    return f"{server.host}/iris:1"


def layer(name: str, version: str = "1.0") -> bytes:
    return gzipped(tar(package(name, version)))


def names(facts: Mapping[str, Evidence]) -> list[str]:
    told: Any = facts["packages"].value if "packages" in facts else []
    return [each["name"] for each in told]


# --- what a registry may do -----------------------------------------------------------------------


async def test_it_is_told_how_far_reading_has_come(server: Server, tmp_path: Path) -> None:
    large, small = gzipped(tar({"data": os.urandom(3 << 20)})), layer("scipy")
    reference = serve(server, large, small)
    plugin, settings = Plugin(wanted=AMD64), Settings(state=tmp_path)
    told: list[Progress] = []
    image = await plugin.longshore_resolve_image(reference, settings)
    await plugin.longshore_profile_image(image, settings, told.append)
    come = [each.done for each in told]
    assert come == sorted(come)
    assert {each.total for each in told} == {len(large) + len(small)}
    assert come[-1] == told[-1].total
    assert len(come) > 3, "in between, too"
    told.clear()
    await plugin.longshore_profile_image(image, settings, told.append)
    assert not told, "nothing is read twice"


async def test_layers_that_cannot_be_fetched_leave_what_else_is_known(
    server: Server, tmp_path: Path
) -> None:
    gone, here = layer("gone"), layer("here")
    reference = serve(server, gone, here)
    del server.routes[f"/v2/iris/blobs/{sha256(gone)}"]
    facts = await facts_of(reference, tmp_path)
    assert names(facts) == ["here"]
    assert facts["packages"].confidence is Confidence.INFERRED
    assert "gpu_need" not in facts, "that nothing was found proves nothing"
    scan = scan_of(facts)
    assert (scan["complete"], scan["layers"], scan["layers_read"]) == (False, 2, 1)
    [why] = scan["skipped"]
    assert why.startswith(f"layer {sha256(gone)[:19]}… cannot be fetched: registry {server.host}")


@pytest.mark.parametrize("what", ["another", "longer", "shorter", "broken off"])
async def test_a_layer_that_is_not_what_its_manifest_tells_tells_of_nothing(
    server: Server, tmp_path: Path, what: str
) -> None:
    told, sent = layer("told"), layer("sent")
    reference = serve(server, told)

    def broken_off(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        request.send_response(200)
        request.send_header("content-length", str(len(told)))
        request.end_headers()
        request.wfile.write(told[:-9])
        request.close_connection = True
        request.connection.close()
        raise ConnectionError

    path = f"/v2/iris/blobs/{sha256(told)}"
    bodies = {"another": sent, "longer": told + b"x", "shorter": told[:-1]}
    if what == "broken off":
        server.routes[path] = broken_off
    else:
        server.answer(path, bodies[what])
    facts = await facts_of(reference, tmp_path)
    assert not scan_of(facts)["complete"]
    assert "sent" not in names(facts)
    if what != "broken off":
        assert names(facts) == []
    assert not list((tmp_path / "images").rglob("*")), "nothing of it is kept"


async def test_a_slow_registry_ends_the_reading_in_time_with_what_was_read(
    server: Server, tmp_path: Path
) -> None:
    slow, quick = layer("slow"), layer("quick")
    reference = serve(server, slow, quick)
    ended = threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        ended.wait(30)
        return 200, {}, slow

    server.routes[f"/v2/iris/blobs/{sha256(slow)}"] = wait
    begun = time.monotonic()
    facts = await facts_of(reference, tmp_path, seconds=0.5)
    ended.set()
    assert time.monotonic() - begun < 15
    assert names(facts) == ["quick"]
    assert scan_of(facts)["skipped"] == [
        f"layer {sha256(slow)[:19]}… was not read to its end within 0.5 s"
    ]


async def test_nothing_is_told_of_a_layer_while_a_thread_still_works_on_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, working = threading.Event(), threading.Event()
    feed, so_far = LayerReader.feed, LayerReader.so_far

    def slow(reader: LayerReader, data: bytes) -> None:
        working.set()
        begun.set()
        feed(reader, data)
        # Longer than the time that there is.
        time.sleep(1 if data else 0)
        working.clear()

    def checked(reader: LayerReader, problem: str) -> Layer:
        assert not working.is_set()
        return so_far(reader, problem)

    monkeypatch.setattr(LayerReader, "feed", slow)
    monkeypatch.setattr(LayerReader, "so_far", checked)
    facts = await facts_of(serve(server, layer("half")), tmp_path, seconds=0.5)
    assert begun.is_set()
    assert not scan_of(facts)["complete"]


async def test_one_that_trickles_is_told_as_far_as_it_came(server: Server, tmp_path: Path) -> None:
    content = tar({**package("early", "1"), "filling": bytes(3 << 20), **package("late", "1")})
    reference = serve(server, content)
    ended = threading.Event()

    def trickle(request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        request.send_response(200)
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: 2 << 20])
        request.wfile.flush()
        ended.wait(30)
        return 200, {}, b""

    server.routes[f"/v2/iris/blobs/{sha256(content)}"] = trickle
    facts = await facts_of(reference, tmp_path, seconds=1.5)
    ended.set()
    assert names(facts) == ["early"]
    assert not scan_of(facts)["complete"]


async def test_more_than_the_bound_is_not_fetched(server: Server, tmp_path: Path) -> None:
    first, second = layer("first"), layer("second")
    reference = serve(server, first, second, sizes=(len(first), 1 << 50))
    facts = await facts_of(reference, tmp_path, download=1 << 20)
    assert names(facts) == ["first"]
    assert scan_of(facts)["skipped"] == [
        f"layer {sha256(second)[:19]}… is not read: 1048576 bytes are read of one image at most"
    ]
    assert not server.headers_of(f"/v2/iris/blobs/{sha256(second)}")


async def test_layers_that_hold_too_much_together_end_the_reading(
    server: Server, tmp_path: Path
) -> None:
    layers = [gzipped(tar({f"{number}/{each}": b"" for each in range(60)})) for number in range(4)]
    for _ in range(2):
        facts = await facts_of(serve(server, *layers), tmp_path, entries=100, parallel=1)
        scan = scan_of(facts)
        assert (scan["complete"], scan["layers_read"], scan["entries"]) == (False, 2, 120)
        assert "is not read: the layers before it hold as much" in scan["skipped"][0]


async def test_no_more_layers_than_allowed_are_read_at_once(server: Server, tmp_path: Path) -> None:
    layers = [layer(f"p{each}") for each in range(12)]
    reference = serve(server, *layers)
    lock, at_once, most = threading.Lock(), 0, 0

    def counting(content: bytes) -> Any:
        def answer(_: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            time.sleep(0.05)
            with lock:
                at_once -= 1
            return 200, {}, content

        return answer

    for each in layers:
        server.routes[f"/v2/iris/blobs/{sha256(each)}"] = counting(each)
    facts = await facts_of(reference, tmp_path, parallel=4)
    assert len(names(facts)) == 12
    assert 2 <= most <= 4


async def test_layers_are_not_read_where_that_is_switched_off(
    server: Server, tmp_path: Path
) -> None:
    content = layer("unread")
    reference = serve(server, content)
    facts = await facts_of(reference, tmp_path, read_layers=False)
    assert not {"packages", "scan", "gpu_need"} & set(facts)
    assert not server.headers_of(f"/v2/iris/blobs/{sha256(content)}")


async def test_a_caller_that_leaves_ends_the_reading(server: Server, tmp_path: Path) -> None:
    content = layer("never")
    reference = serve(server, content)
    asked, ended = threading.Event(), threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        asked.set()
        ended.wait(30)
        return 200, {}, content

    server.routes[f"/v2/iris/blobs/{sha256(content)}"] = wait
    task = asyncio.create_task(facts_of(reference, tmp_path))
    assert await asyncio.to_thread(asked.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ended.set()


# --- platforms ------------------------------------------------------------------------------------


async def test_of_an_index_the_wanted_platform_is_read(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    def pushed(architecture: str, version: str) -> Any:
        config = {**CONFIG, "architecture": architecture}
        content = gzipped(tar(package("torch", version)))
        return registry.image("many", architecture, config, layers=(content,))

    images = {
        "linux/arm64/v8": pushed("arm64", "2.9.0"),
        "linux/amd64/v3": pushed("amd64", "2.9.0+cpu"),
    }
    index = registry.index("many", "1", images, media_type=OCI_INDEX)
    reference = f"{registry.host}/many:1"
    for wanted, variant, version in (
        (AMD64, "v3", "2.9.0+cpu"),
        (Platform(os="linux", architecture="arm64"), "v8", "2.9.0"),
    ):
        facts = await facts_of(reference, tmp_path, wanted)
        assert facts["platforms"].value == ["linux/arm64/v8", "linux/amd64/v3"]
        assert facts["variant"].value == variant
        assert facts["variant"].source == f"manifest {index.digest}"
        told: Any = facts["packages"].value
        assert [each["version"] for each in told] == [version]


# --- what is kept ---------------------------------------------------------------------------------


async def test_a_layer_is_fetched_once_and_known_to_other_images_and_processes(
    server: Server, tmp_path: Path
) -> None:
    content, other = layer("shared"), layer("other")
    path = f"/v2/iris/blobs/{sha256(content)}"
    first = await facts_of(serve(server, content), tmp_path)
    assert len(server.headers_of(path)) == 1
    assert await facts_of(serve(server, content), tmp_path) == first
    assert names(await facts_of(serve(server, content, other), tmp_path)) == ["other", "shared"]
    assert len(server.headers_of(path)) == 1
    assert await facts_of(serve(server, content), tmp_path, cache=0, header=9999) == first
    assert len(server.headers_of(path)) == 2, "other bounds might find something else"


# --- the event loop -------------------------------------------------------------------------------


async def test_the_event_loop_is_left_to_others_meanwhile(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    for name in ("feed", "finish"):
        method = getattr(LayerReader, name)

        def noted(*arguments: Any, method: Any = method) -> Any:
            threads.add(threading.current_thread())
            return method(*arguments)

        monkeypatch.setattr(LayerReader, name, noted)
    content = tar({"filling": os.urandom(5 << 20), **package("a", "1")})
    assert names(await facts_of(serve(server, content), tmp_path)) == ["a"]
    assert threads
    assert threading.current_thread() not in threads
