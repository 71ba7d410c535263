"""Who may call: keys where there is one, and no foreign web page where there is none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parts.routed import Routed, routed

from longshore.core.types import Identity
from longshore.plugins import api_keys
from longshore.router.callers import MOST, Callers

KEY = {"authorization": "Bearer secret"}


@pytest.fixture
async def locked(state: Path) -> AsyncIterator[Routed]:
    async with routed(state, api_keys.Plugin(), api_key="secret") as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/models"),
        ("PUT", "/api/models/iris/versions/1"),
        ("POST", "/v1/models/iris/predict"),
        ("GET", "/v1/models/iris/versions/1/raw/x"),
        ("POST", "/v1/predict"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": ""}])
async def test_without_the_key_there_is_no_answer(
    locked: Routed, method: str, path: str, headers: dict[str, str]
) -> None:
    replica = await locked.serving()
    answer = await locked.http.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:longshore:problem:unauthenticated"
    assert "Bearer KEY" in answer.json()["hint"]
    assert not replica.requests


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_the_page_and_the_probes_need_none(locked: Routed, path: str) -> None:
    assert (await locked.http.get(path)).status_code == 200
    assert (await locked.http.get("/readyz")).status_code == 503


async def test_with_the_key_all_is_as_before_and_the_key_stays_here(locked: Routed) -> None:
    replica = await locked.serving()
    assert (await locked.http.get("/api/models", headers=KEY)).status_code == 200
    answer = await locked.http.post("/v1/models/iris/predict", content=b"x", headers=KEY)
    assert answer.status_code == 200
    assert replica.last.header("authorization") is None
    uniform = {"model": "iris", "features": [1]}
    assert (await locked.http.post("/v1/predict", json=uniform, headers=KEY)).status_code == 200
    assert replica.last.header("authorization") is None


async def test_a_caller_that_is_known_takes_the_fast_lane(
    locked: Routed, taken: list[bool]
) -> None:
    replica = await locked.serving()
    for headers, status in ((KEY, 200), (KEY, 200), ({"authorization": "Bearer wrong"}, 401)):
        answer = await locked.http.post("/v1/models/iris/predict", content=b"x", headers=headers)
        assert answer.status_code == status
        assert all(each.header("authorization") is None for each in replica.requests)
    assert taken == [False, True, False], "the first time somebody has to look at the key"


async def test_without_keys_the_header_is_the_models_own(router: Routed, taken: list[bool]) -> None:
    replica = await router.serving()
    await router.http.post("/v1/models/iris/predict", content=b"x", headers=KEY)
    assert replica.last.header("authorization") == "Bearer secret"
    assert taken == [True]


async def test_only_who_may_be_remembered_is_and_not_for_ever() -> None:
    now = 100.0
    callers = Callers(lambda: now)
    callers.remember(b"Bearer a", Identity(name="a", how="test", remember=10))
    callers.remember(b"Bearer b", Identity(name="b", how="test"))
    callers.remember(b"", Identity(name="nobody", how="test", remember=10))
    assert [callers.knows(each) for each in (b"Bearer a", b"Bearer b", b"")] == [True, False, False]
    now += 10
    assert not callers.knows(b"Bearer a")


async def test_no_more_callers_are_remembered_than_the_bound() -> None:
    callers = Callers(lambda: 0.0)
    for number in range(MOST + 1):
        callers.remember(b"%d" % number, Identity(name="a", how="test", remember=10))
    assert sum(callers.knows(b"%d" % number) for number in range(MOST + 1)) == 1


async def test_with_a_key_any_host_name_will_do(locked: Routed) -> None:
    headers = {**KEY, "host": "models.example.com", "origin": "https://models.example.com"}
    assert (await locked.http.get("/api/models", headers=headers)).status_code == 200
    document = (await locked.http.get("/openapi.json", headers=KEY)).json()
    assert document["security"] == [{"key": []}]


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "evil.example.com:8000", "127.0.0.1.evil.com", "localhost@evil.com"],
)
@pytest.mark.parametrize("path", ["/api/models", "/v1/models/iris/predict", "/", "/metrics"])
async def test_a_rebound_host_name_is_refused(router: Routed, host: str, path: str) -> None:
    replica = await router.serving()
    answer = await router.http.get(path, headers={"host": host})
    # A user's name before the host makes it none at all.
    status, slug = (400, "malformed-request") if "@" in host else (403, "forbidden")
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:longshore:problem:{slug}")
    assert not replica.requests


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8000", "[::1]"])
async def test_loopback_by_any_name_is_not(router: Routed, host: str) -> None:
    assert (await router.http.get("/api/models", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example.com", "null", "http://127.0.0.1:1", ""])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_a_foreign_page_cannot_manage(router: Routed, origin: str, method: str) -> None:
    headers = {"origin": origin, "content-type": "text/plain"}
    path = "/api/models/iris/versions/1" + ("/sleep" if method == "POST" else "")
    answer = await router.http.request(method, path, headers=headers)
    assert answer.status_code == 403
    assert "web page" in answer.json()["detail"]


async def test_our_own_page_can(router: Routed) -> None:
    spec = {"image": "localhost:5001/iris:1"}
    own = {"origin": router.url}
    path = "/api/models/iris/versions/1"
    assert (await router.http.put(path, json=spec, headers=own)).status_code == 201
    assert (await router.http.delete(path)).status_code == 200, "programs send no Origin"


async def test_exposed_on_purpose_any_host_name_will_do_but_no_foreign_page(state: Path) -> None:
    async with routed(state, host=".".join("0000"), insecure=True) as router:
        named = {"host": "models.example.com"}
        assert (await router.http.get("/api/models", headers=named)).status_code == 200
        foreign = {**named, "origin": "https://evil.example.com"}
        answer = await router.http.delete("/api/models/iris", headers=foreign)
        assert answer.status_code == 403
