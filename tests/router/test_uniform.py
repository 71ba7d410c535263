"""The uniform call: features to predictions, translated by the version's contract."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from parts.replica import Exchange
from parts.routed import Routed, model_route, route, routed, until
from pydantic import JsonValue

from longshore.core.hookspecs import hookimpl
from longshore.core.types import State


async def ask(router: Routed, **asked: JsonValue) -> Any:
    return await router.http.post("/v1/predict", json={"model": "iris", "features": [], **asked})


async def test_features_become_predictions(router: Routed) -> None:
    async def double(exchange: Exchange) -> None:
        rows = json.loads(await exchange.read_body())
        await exchange.answer(json.dumps([2 * each for each in rows]).encode())

    replica = await router.serving(double)
    answer = await ask(router, features=[1, 2.5])
    assert answer.json() == {"model": "iris", "version": "1", "predictions": [2, 5.0]}
    assert answer.headers["x-longshore-version"] == "iris:1"
    assert (replica.last.method, replica.last.target) == ("POST", "/predict")
    assert replica.last.all("content-type") == ["application/json"]
    assert replica.last.all("content-length") == [str(len(replica.last.body))]
    assert replica.last.header("accept-encoding") is None, "nobody here would unpack the answer"
    assert replica.last.header("x-request-id") == answer.headers["x-request-id"]


async def test_one_version_or_the_traffic_rules_choice(router: Routed) -> None:
    first, second = await router.replica(), await router.replica()
    await router.table.update(model_route(route(first), route(second, number="2")))
    assert (await ask(router)).json()["version"] == "2"
    assert (await ask(router, version="1")).json()["version"] == "1"


async def test_a_large_body_passes_in_both_directions(router: Routed) -> None:
    await router.serving()
    rows: JsonValue = ["x" * 100] * 30_000
    assert (await ask(router, features=rows)).json()["predictions"] == rows


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"features": []}, "/model"),
        ({"model": "iris"}, "/features"),
        ({"model": "Iris", "features": []}, "/model"),
        ({"model": "iris", "version": "a b", "features": []}, "/version"),
        ({"model": 7, "features": []}, "/model"),
        ({"model": "iris", "features": [], "extra": 1}, "/extra"),
        ([1, 2], ""),
    ],
)
async def test_a_malformed_envelope_points_at_the_field(
    router: Routed, body: Any, pointer: str
) -> None:
    answer = await router.http.post("/v1/predict", json=body)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


async def test_features_that_the_contract_cannot_carry(router: Routed) -> None:
    await router.serving()
    answer = await router.http.post(
        "/v1/predict",
        content=b'{"model": "iris", "features": [NaN]}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/features"


@pytest.mark.parametrize(
    ("status", "told"), [("400 Bad Request", 400), ("500 Oops", 500), ("302 Found", 502)]
)
async def test_what_the_container_refuses_is_passed_on(
    router: Routed, status: str, told: int
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"columns do not match \xff" + b"." * 5000, status)

    await router.serving(refuse)
    answer = await ask(router)
    assert answer.status_code == told
    document = answer.json()
    assert document["type"] == "urn:longshore:problem:container-error"
    assert document["container_status"] == int(status[:3])
    assert document["body_excerpt"].startswith("columns do not match")
    assert len(document["body_excerpt"]) <= 1000


async def test_an_answer_that_the_contract_does_not_promise(router: Routed) -> None:
    async def html(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"<html>")

    await router.serving(html)
    answer = await ask(router)
    assert answer.status_code == 502
    assert "contract generic" in answer.json()["detail"]


class Broken:
    """A contract with a defect."""

    name = "generic"

    def detect(self, spec: object, image: object) -> None: ...

    def encode(self, features: JsonValue) -> tuple[bytes, str]:
        raise KeyError("secret-of-the-inside")

    @hookimpl
    def longshore_contract(self) -> "Broken":
        return self


async def test_a_contract_with_a_defect_is_named(
    state: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parts.routed.contracts", Broken())
    async with routed(state) as router:
        replica = await router.serving()
        answer = await ask(router)
        assert answer.status_code == 500
        told = "failed in longshore_contract (contract generic): KeyError"
        assert answer.json()["detail"] == f"plugin generic {told}"
        assert "secret" not in answer.text
        assert f"plugin generic {told}: 'secret-of-the-inside'" in caplog.text
        assert not replica.requests


async def test_an_answer_that_is_too_large_to_translate(router: Routed) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[")
        while True:
            await exchange.send(b"1," * 50_000)

    replica = await router.serving(endless)
    answer = await ask(router)
    assert answer.status_code == 502
    assert "too many to translate" in answer.json()["detail"]
    assert await until(lambda: not replica.open)


async def test_the_same_errors_as_elsewhere(router: Routed) -> None:
    assert (await ask(router)).status_code == 404
    await router.table.update(model_route(route(state=State.FAILED, reason="exit code 3")))
    answer = await ask(router)
    assert (answer.status_code, answer.json()["reason"]) == (503, "exit code 3")

    async def dies(exchange: Exchange) -> None:
        await exchange.read_body()
        exchange.reset()

    replica = await router.serving(dies)
    assert (await ask(router)).status_code == 502
    assert len(replica.requests) == 1


async def test_a_client_that_leaves_ends_the_exchange(router: Routed) -> None:
    left = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.until_left()
        left.set()

    replica = await router.serving(slow)
    body = b'{"model": "iris", "features": 1}'
    _, writer = await router.raw(
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    assert await until(lambda: replica.requests)
    writer.close()
    await asyncio.wait_for(left.wait(), 1)
    assert await until(lambda: router.table.load(route().version.key).in_flight == 0)
