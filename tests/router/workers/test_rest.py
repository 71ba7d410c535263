"""What a worker does not answer itself: the parent does, as if it had been asked directly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from examples_of import version
from parts.crewed import Crewed, crewed
from parts.routed import until

from longshore.core.names import VersionKey


async def test_everything_but_predictions_comes_from_the_parent(router: Crewed) -> None:
    http = router.http
    await router.serving()
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    page = await http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    part = await http.get("/static/main.js")
    known = await http.get("/static/main.js", headers={"if-none-match": part.headers["etag"]})
    assert (part.status_code, known.status_code, known.content) == (200, 304, b"")
    assert (await http.get("/api/page/overview")).json()["rows"] == []
    assert (await http.get("/api/models")).json() == {"models": []}
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert {"/v1/predict", "/api/models", "/healthz"} <= paths.keys()
    assert (await http.get("/docs")).status_code == 200
    assert (await http.get("/readyz")).status_code == 503, "its controller does not run here"
    assert (await http.head("/healthz")).status_code == 405
    uniform = {"model": "iris", "features": [[1]]}
    assert (await http.post("/v1/predict", json=uniform)).json()["predictions"] == [[1]]


async def test_problems_come_with_the_id_that_the_client_gave(router: Crewed) -> None:
    for path in ("/api/models/none", "/nothing", "/v1/nothing", "/v1/models/none/predict"):
        answer = await router.http.get(path, headers={"x-request-id": "mine"})
        assert answer.headers.get_list("x-request-id") == ["mine"], path
        assert answer.json()["instance"] == "mine", path
        assert len(answer.headers.get_list("date")) == 1, path


async def test_bodies_reach_the_parent_whole_or_are_refused(state: Path) -> None:
    async with crewed(state, max_body=1000) as router:
        spec = {"image": "x" * 600}
        answer = await router.http.put("/api/models/iris/versions/1", json=spec)
        assert answer.json()["errors"][0]["pointer"] == "/image", answer.text
        for sent in (b"x" * 1001, _pieces(b"x" * 100, 11)):
            answer = await router.http.put("/api/models/iris/versions/1", content=sent)
            assert answer.status_code == 413
            assert "1000 bytes" in answer.json()["detail"]


async def _pieces(piece: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield piece


async def test_a_log_is_streamed_until_its_reader_leaves(
    router: Crewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, more = asyncio.Event(), asyncio.Event()

    async def endless(
        key: VersionKey, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        try:
            yield "first"
            await more.wait()
            yield "second"
            await asyncio.Event().wait()
        finally:
            left.set()

    await router.registry.add_version(version("iris", "1"), [])
    monkeypatch.setattr(router.backend, "logs", endless)
    path = "/api/models/iris/versions/1/logs?follow=true"
    async with router.http.stream("GET", path) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "first"
        more.set()
        assert await anext(lines) == "second"
    await asyncio.wait_for(left.wait(), 10)


async def test_keys_are_asked_for_by_worker_and_parent_alike(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGSHORE_API_KEY", "a-secret")
    async with crewed(state) as router:
        [replica] = await router.serving()
        for method, path in (("POST", "/v1/models/iris/predict"), ("GET", "/api/models")):
            refused = await router.http.request(method, path)
            assert refused.status_code == 401, path
            assert refused.headers["www-authenticate"] == "Bearer"
            key = {"authorization": "Bearer a-secret"}
            assert (await router.http.request(method, path, headers=key)).status_code == 200
        assert replica.last.header("authorization") is None
        assert (await router.http.get("/healthz")).status_code == 200


async def test_foreign_pages_are_kept_out_by_worker_and_parent_alike(router: Crewed) -> None:
    await router.serving()
    foreign = {"host": "evil.example.com"}
    for path in ("/api/models", "/v1/models/iris/versions/1/raw/"):
        assert (await router.http.get(path, headers=foreign)).status_code == 403
    answer = await router.http.delete(
        "/api/models/iris", headers={"origin": "http://evil.example.com"}
    )
    assert answer.status_code == 403


async def test_without_the_parent_predictions_go_on_and_the_rest_says_why(
    router: Crewed, state: Path
) -> None:
    await router.serving()
    (state / "parent.sock").unlink()
    refused = await router.http.get("/api/models")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert "does not answer" in refused.json()["detail"]
    assert "Predictions go on" in refused.json()["hint"]
    assert (await router.http.post("/v1/models/iris/predict", content=b"x")).content == b"x"


async def test_the_socket_is_for_this_user_alone(router: Crewed, state: Path) -> None:
    assert (state / "parent.sock").stat().st_mode & 0o777 == 0o600
    transport = httpx.AsyncHTTPTransport(uds=str(state / "parent.sock"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get("/api/models")).status_code == 200


async def test_an_end_of_the_parents_answer_that_comes_too_early_is_seen(
    router: Crewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(
        key: VersionKey, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        yield "first"
        raise OSError("the engine went away")

    await router.registry.add_version(version("iris", "1"), [])
    monkeypatch.setattr(router.backend, "logs", breaks)
    with pytest.raises(httpx.RemoteProtocolError):
        await router.http.get("/api/models/iris/versions/1/logs")
    assert await until(lambda: sum(router.connections()) <= 1)
