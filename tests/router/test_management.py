"""The management API, on the real platform and SQLite."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from examples_of import NOON
from parts.routed import Routed, routed, until

from longshore.core.errors import InvalidInput, NotFound, Unavailable
from longshore.core.hookspecs import hookimpl
from longshore.core.measures import Measured
from longshore.core.names import VersionKey
from longshore.core.settings import Settings
from longshore.core.types import Collected, ImageFate, Resources, VersionRecord, VersionSpec, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry

COLLECTED = Collected(at=NOON, why="a test")
SPEC = {"image": "localhost:5001/iris:1"}
IRIS_1 = "/api/models/iris/versions/1"


async def test_a_time_to_be_warm_that_is_none_is_refused_with_the_reason(router: Routed) -> None:
    for warm, reason in (("mon-fri 8-18", "no time of the week"), ("daily 08:00-18:00 X", "zone")):
        answer = await router.http.put(IRIS_1, json={**SPEC, "scaling": {"min": 0, "warm": [warm]}})
        assert answer.status_code == 422
        assert reason in answer.text
    assert (await router.http.get(IRIS_1)).status_code == 404


async def test_registering_creates_once_and_never_changes(router: Routed) -> None:
    created = await router.http.put(IRIS_1, json=SPEC)
    assert created.status_code == 201
    assert created.json()["version"]["key"] == {"name": "iris", "version": "1"}
    again = await router.http.put(IRIS_1, json=SPEC)
    assert again.status_code == 200
    assert again.json()["version"] == created.json()["version"]
    other = await router.http.put(IRIS_1, json={"image": "localhost:5001/other:1"})
    assert other.status_code == 409
    assert other.json()["type"] == "urn:longshore:problem:conflict"


async def test_two_at_once_with_other_content_have_one_winner(router: Routed) -> None:
    answers = await asyncio.gather(
        *(router.http.put(IRIS_1, json={**SPEC, "port": 8000 + each}) for each in range(8))
    )
    assert sorted(each.status_code for each in answers) == [201] + [409] * 7


async def test_what_was_registered_can_be_read(router: Routed) -> None:
    assert (await router.http.get("/api/models")).json() == {"models": []}
    await router.http.put(IRIS_1, json=SPEC)
    await router.http.put("/api/models/iris/versions/2", json={**SPEC, "port": 9000})
    [model] = (await router.http.get("/api/models")).json()["models"]
    assert model == (await router.http.get("/api/models/iris")).json()
    assert [each["version"]["key"]["version"] for each in model["versions"]] == ["1", "2"]
    record = (await router.http.get(IRIS_1)).json()
    assert record == model["versions"][0]
    assert (record["wish"], record["status"]["state"]) == ("run", "pending")
    decisions = (await router.http.get(f"{IRIS_1}/decisions")).json()["decisions"]
    assert "longshore_resolve_image" in {each["hook"] for each in decisions}
    assert (await router.http.get(f"{IRIS_1}/wakes")).json() == {"wakes": []}


async def test_a_preflight_stores_nothing(router: Routed) -> None:
    plan = await router.http.post(f"{IRIS_1}/preflight", json=SPEC)
    assert plan.status_code == 200
    assert plan.json()["version"]["image"]["digest"].startswith("sha256:")
    assert plan.json()["decisions"]
    assert (await router.http.get(IRIS_1)).status_code == 404


async def test_nodes_are_told_with_what_plugins_know_of_them(router: Routed) -> None:
    [told] = (await router.http.get("/api/nodes")).json()["nodes"]
    assert told["backend"] == "engine"
    assert told["profile"]["node"]["name"] == "here"
    assert told["profile"]["facts"] == {}


async def test_what_was_measured_of_an_image_is_told(router: Routed, state: Path) -> None:
    digest = "sha256:" + "a" * 64
    assert (await router.http.get(f"/api/measures/{digest}")).json() == {"measures": []}
    found = Measured(
        digest=digest,
        settings="s",
        resources=Resources(memory="1Gi"),
        version=VersionKey("iris", "1"),
        memory_mib=700,
        gpu_memory_unread="no NVML",
        since=NOON,
        last_at=NOON,
    )
    registry = SqlRegistry(Settings(state=state).database_url)
    await registry.add_measures([found])
    await registry.close()
    [told] = (await router.http.get(f"/api/measures/{digest}")).json()["measures"]
    assert (told["memory_mib"], told["gpu_memory_mib"]) == (700, None)
    assert (told["gpu_memory_unread"], told["readings"]) == ("no NVML", 1)
    assert (await router.http.get("/api/measures/iris")).status_code == 422


async def test_what_no_hardware_fits_is_registered_where_the_caller_insists(
    router: Routed,
) -> None:
    large = {**SPEC, "image": "localhost:5001/large:1"}
    for method, path in (("PUT", IRIS_1), ("POST", f"{IRIS_1}/preflight")):
        refused = await router.http.request(method, path, json=large)
        assert refused.status_code == 422
        assert (refused.json()["detail"], refused.json()["hint"]) == ("by its name", "Rename it.")
    assert (await router.http.get(IRIS_1)).status_code == 404
    insists = {"force": "true"}
    plan = await router.http.post(f"{IRIS_1}/preflight", json=large, params=insists)
    assert plan.status_code == 200
    forced = await router.http.put(IRIS_1, json=large, params=insists)
    assert forced.status_code == 201
    (verdict,) = forced.json()["version"]["placement"]["plan"]["verdicts"]
    assert verdict["outcome"] == "fail"


async def test_deleting(router: Routed) -> None:
    for number in "123":
        await router.http.put(f"/api/models/iris/versions/{number}", json=SPEC)
    gone = await router.http.delete(IRIS_1)
    assert (gone.status_code, gone.json()) == (200, {"deleted": ["iris:1"]})
    assert (await router.http.delete(IRIS_1)).status_code == 404
    gone = await router.http.delete("/api/models/iris")
    assert gone.json() == {"deleted": ["iris:2", "iris:3"]}
    assert (await router.http.delete("/api/models/iris")).status_code == 404


async def test_sleep_and_wake(router: Routed) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    asleep = await router.http.post(f"{IRIS_1}/sleep")
    assert (asleep.status_code, asleep.json()["wish"]) == (202, "sleep")
    awake = await router.http.post(f"{IRIS_1}/wake")
    assert (awake.status_code, awake.json()["wish"]) == (202, "run")
    [wake] = (await router.http.get(f"{IRIS_1}/wakes")).json()["wakes"]
    assert wake["ready_at"] is None
    assert (await router.http.post("/api/models/iris/versions/9/wake")).status_code == 404


async def test_what_is_collected_can_be_woken_and_neither_put_to_sleep_nor_pinned(
    router: Routed,
) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    await router.platform._registry.collect(VersionKey("iris", "1"), COLLECTED)  # noqa: SLF001
    for what in ("sleep", "pin"):
        refused = await router.http.post(f"{IRIS_1}/{what}")
        assert refused.status_code == 422, what
        assert refused.json()["detail"].startswith("iris:1 is collected, so that ")
        assert refused.json()["hint"] == "Bring it back: longshore wake iris:1"
    assert (await router.http.post(f"{IRIS_1}/unpin")).status_code == 200
    assert (await router.http.get(IRIS_1)).json()["wish"] == "collect"
    assert (await router.http.post(f"{IRIS_1}/wake")).json()["wish"] == "run"
    assert (await router.http.post(f"{IRIS_1}/sleep")).json()["wish"] == "sleep"


async def test_a_wake_says_at_once_that_the_image_was_deleted_and_looks_for_another_push(
    tmp_path: Path,
) -> None:
    pushed: set[str] = set()

    class Missing:
        @hookimpl
        def longshore_resolve_image(self, reference: str) -> None:
            if "@" in reference and reference not in pushed:
                raise InvalidInput("the registry has no such manifest")

    gone = COLLECTED.model_copy(update={"image": ImageFate.DELETED})
    async with routed(tmp_path, Missing()) as router:
        await router.http.put(IRIS_1, json=SPEC)
        await router.platform._registry.collect(VersionKey("iris", "1"), gone)  # noqa: SLF001
        refused = await router.http.post(f"{IRIS_1}/wake")
        assert refused.status_code == 422
        assert "its image was deleted from its registry" in refused.json()["detail"]
        record = VersionRecord.model_validate((await router.http.get(IRIS_1)).json())
        assert record.wish is Wish.COLLECT
        reference = record.version.image.pinned
        assert refused.json()["hint"].startswith(f"Push the image {reference} again")
        pushed.add(reference)
        assert (await router.http.post(f"{IRIS_1}/wake")).json()["wish"] == "run"


async def test_what_is_wished_by_hand_is_explained_with_the_load_seen(router: Routed) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    await router.serving()
    await router.predict()
    for each in ("sleep", "wake", "pin", "unpin"):
        assert (await router.http.post(f"{IRIS_1}/{each}")).is_success
    told = (await router.http.get(f"{IRIS_1}/decisions")).json()["decisions"]
    by_hand = [each for each in told if each["plugin"] == "user"]
    assert [(each["hook"], each["outcome"], each["why"]) for each in by_hand] == [
        ("wish", "sleep", "put to sleep by a user"),
        ("wish", "run", "woken by a user"),
        ("pin", "pinned", "pinned by a user: it is never collected"),
        ("pin", "unpinned", "unpinned by a user"),
    ]
    for wish in by_hand[:2]:
        assert (wish["inputs"]["in_flight"], wish["inputs"]["held"]) == (0, 0)
        assert wish["inputs"]["rate"] > 0, "somebody had just called it"
        assert wish["inputs"]["last_request_at"]


async def test_traffic(router: Routed) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    rule = await router.http.put("/api/models/iris/traffic", json={"weights": {"1": 100}})
    told = {"weights": {"1": 100}, "sticky": None, "shadow": None}
    assert (rule.status_code, rule.json()["traffic"]) == (200, told)
    unknown = await router.http.put("/api/models/iris/traffic", json={"weights": {"7": 1}})
    assert unknown.status_code == 404
    nobody = await router.http.put("/api/models/iris/traffic", json={"weights": {"1": 0}})
    assert nobody.status_code == 422
    assert "all weights are 0" in nobody.json()["errors"][0]["detail"]


async def test_a_rule_is_replaced_as_a_whole_and_warns_of_what_is_not_ready(
    router: Routed,
) -> None:
    for number in "12":
        await router.http.put(f"/api/models/iris/versions/{number}", json=SPEC)
    whole = {"weights": {"1": 1}, "sticky": "X-User-Id", "shadow": {"version": "2"}}
    answer = (await router.http.put("/api/models/iris/traffic", json=whole)).json()
    assert answer["traffic"] == {
        "weights": {"1": 1},
        "sticky": "x-user-id",
        "shadow": {"version": "2", "percent": 100},
    }
    first, second = answer["warnings"]
    assert first.startswith("iris:1 is pending, so that 100.0% of the requests get 503 for now")
    assert second.startswith("iris:2 is pending, so that copies for it come to nothing")
    answer = (await router.http.put("/api/models/iris/traffic", json={})).json()
    assert answer["traffic"] == {"weights": {}, "sticky": None, "shadow": None}
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"sticky": "connection"}, "/sticky"),
        ({"sticky": "a b"}, "/sticky"),
        ({"shadow": {"version": "a b"}}, "/shadow/version"),
        ({"shadow": {"version": "1", "percent": 101}}, "/shadow/percent"),
        ({"shadow": "1"}, "/shadow"),
    ],
)
async def test_what_is_wrong_with_a_rule_is_pointed_at(
    router: Routed, rule: Any, pointer: str
) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    answer = await router.http.put("/api/models/iris/traffic", json=rule)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    unknown = await router.http.put("/api/models/iris/traffic", json={"shadow": {"version": "7"}})
    assert unknown.status_code == 404


async def test_events(router: Routed) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    await router.http.put("/api/models/iris/versions/2", json=SPEC)
    events = (await router.http.get("/api/events")).json()["events"]
    assert [each["kind"] for each in events] == ["registered", "registered"]
    of_one = await router.http.get("/api/events", params={"version": "iris:2", "limit": 5})
    assert [each["key"]["version"] for each in of_one.json()["events"]] == ["2"]
    bad = await router.http.get("/api/events", params={"version": "iris", "limit": 5})
    assert (bad.status_code, "NAME:VERSION" in bad.text) == (422, True)
    bad = await router.http.get("/api/events", params={"limit": 0})
    assert bad.json()["errors"][0]["parameter"] == "limit"


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({}, "/image"),
        ({**SPEC, "scaling": {"min": 3, "max": 2}}, "/scaling"),
        ({**SPEC, "scaling": {"min": "x"}}, "/scaling/min"),
        ({**SPEC, "env": {"9/x~y": "1"}}, "/env/9~1x~0y"),
        ({**SPEC, "resources": {"memory": "lots"}}, "/resources/memory"),
        ({**SPEC, "unknown": 1}, "/unknown"),
        ({"image": "localhost:5001/missing:1"}, "/image"),
        ({**SPEC, "contract": "telepathy"}, "/contract"),
        ([], ""),
    ],
)
async def test_what_is_wrong_with_a_registration_is_pointed_at(
    router: Routed, spec: Any, pointer: str
) -> None:
    answer = await router.http.put(IRIS_1, json=spec)
    assert answer.status_code == 422
    document = answer.json()
    assert document["type"] == "urn:longshore:problem:invalid-input"
    assert [each["pointer"] for each in document["errors"]] == [pointer]
    assert document["errors"][0]["detail"]


async def test_a_body_that_is_no_json(router: Routed) -> None:
    broken = await router.http.put(
        IRIS_1, content=b'{"image": ', headers={"content-type": "application/json"}
    )
    assert broken.status_code == 422
    assert "not JSON: error at character" in broken.json()["detail"]
    plain = await router.http.put(IRIS_1, content=json.dumps(SPEC))
    assert plain.status_code == 422
    assert "Content-Type: application/json" in plain.json()["hint"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/api/models/Iris/versions/1", 422),
        ("PUT", "/api/models/iris/versions/a%20b", 422),
        ("POST", "/api/models/-/versions/1/preflight", 422),
        ("GET", "/api/models/Iris", 404),
        ("GET", "/api/models/iris/versions/a%20b", 404),
        ("DELETE", "/api/models/..%5C", 404),
    ],
)
async def test_a_name_that_breaks_the_rule_is_told_the_rule(
    router: Routed, method: str, path: str, status: int
) -> None:
    answer = await router.http.request(method, path, json=SPEC if status == 422 else None)
    assert answer.status_code == status
    assert "characters" in answer.json()["detail"]


async def test_an_unknown_model_is_told_the_nearest(router: Routed) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    answer = await router.http.get("/api/models/irsi")
    assert (answer.status_code, answer.json()["nearest"]) == (404, ["iris"])


async def test_the_log_is_text(router: Routed) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    log = await router.http.get(f"{IRIS_1}/logs", params={"tail": 10})
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert log.headers["x-content-type-options"] == "nosniff"
    assert log.text == "log of iris:1\n"
    assert (await router.http.get("/api/models/iris/versions/2/logs")).status_code == 404
    assert (await router.http.get(f"{IRIS_1}/logs", params={"tail": -1})).status_code == 422


async def test_a_log_that_is_followed_comes_line_by_line_and_ends_with_the_client(
    router: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await router.http.put(IRIS_1, json=SPEC)
    lines, closed = asyncio.Queue[str](), asyncio.Event()

    async def follow(key: VersionKey, *, tail: int, follow: bool) -> AsyncIterator[str]:
        assert (str(key), tail, follow) == ("iris:1", 0, True)
        try:
            while True:
                yield await lines.get()
        finally:
            closed.set()

    monkeypatch.setattr(router.backend, "logs", follow)
    path = f"{IRIS_1}/logs?tail=0&follow=true"
    async with router.http.stream("GET", path) as answer:
        assert answer.status_code == 200, "the head comes although there is no line yet"
        pieces = answer.aiter_text()
        for line in ("one", "zwei ü"):
            lines.put_nowait(line)
            assert await asyncio.wait_for(anext(pieces), 1) == line + "\n"
    await asyncio.wait_for(closed.wait(), 1)


@pytest.mark.parametrize(("error", "status"), [(NotFound, 404), (Unavailable, 503)])
async def test_a_log_that_cannot_be_read_is_a_proper_error(
    router: Routed, monkeypatch: pytest.MonkeyPatch, error: Any, status: int
) -> None:
    await router.http.put(IRIS_1, json=SPEC)

    async def fail(key: VersionKey, *, tail: int, follow: bool) -> AsyncIterator[str]:
        if not follow:
            raise error("no replica has a log")
        yield ""

    monkeypatch.setattr(router.backend, "logs", fail)
    answer = await router.http.get(f"{IRIS_1}/logs")
    assert (answer.status_code, answer.json()["detail"]) == (status, "no replica has a log")


async def test_what_a_user_registers_is_served(router: Routed) -> None:
    replica = await router.replica()
    async with router.controller.running():
        await router.http.put(IRIS_1, json=SPEC)
        assert await until(lambda: router.backend.running)
        [status] = router.backend.running.values()
        ready = status.replicas[0].model_copy(update={"address": replica.endpoint.address})
        status = status.model_copy(update={"replicas": (ready,)})
        router.backend.running[status.key] = status
        router.controller.kick()

        async def answers() -> bool:
            return (await router.predict()).status_code == 200

        for _ in range(100):
            if await answers():
                break
            await asyncio.sleep(0.05)
        assert await answers()
        await router.http.delete(IRIS_1)
        assert await until(lambda: not router.backend.running)
        assert (await router.predict()).status_code == 404


async def test_a_database_that_is_away_is_a_503_and_warm_models_are_served(
    router: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise Unavailable("the database does not answer", hint="Start it.")

    monkeypatch.setattr(router.platform, "models", away)
    answer = await router.http.get("/api/models")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    await router.serving()
    assert (await router.predict()).status_code == 200


async def test_listing_many_versions_takes_under_a_millisecond_each(router: Routed) -> None:
    spec = VersionSpec(image=SPEC["image"])
    for number in range(200):
        await router.platform.register(VersionKey(f"model-{number // 10}", str(number)), spec)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        models = (await router.http.get("/api/models")).json()["models"]
        times.append(time.perf_counter() - begun)
        assert sum(len(each["versions"]) for each in models) == 200
    assert min(times) < 0.2


async def test_unknown_routes_and_methods(router: Routed) -> None:
    nothing = await router.http.get("/api/nothing")
    assert (nothing.status_code, nothing.json()["status"]) == (404, 404)
    assert nothing.headers["content-type"] == "application/problem+json"
    wrong = await router.http.post("/api/models")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.json()["detail"] == "/api/models does not take POST"


async def test_a_defect_tells_nothing_of_its_inside_and_is_logged(
    router: Routed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("secret-of-the-inside")

    monkeypatch.setattr(router.platform, "models", broken)
    answer = await router.http.get("/api/models")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    request_id = answer.json()["instance"]
    assert request_id == answer.headers["x-request-id"]
    assert request_id in caplog.text
    assert "secret-of-the-inside" in caplog.text
