"""What the router itself answers: problems on the data path, metrics, probes, page, OpenAPI."""

import json
import re

import pytest
from fastapi.openapi.models import OpenAPI
from parts.routed import Routed, model_route, route
from prometheus_client.parser import text_string_to_metric_families

from longshore.core.ledger import WAKE_BOUNDS
from longshore.core.names import VersionKey
from longshore.core.routes import VersionRoute
from longshore.core.types import State
from longshore.router.app import build_app
from longshore.router.metrics import exposition, registry_of
from longshore.router.table import Table

IRIS = VersionKey("iris", "1")


async def test_an_unknown_model_or_version_is_a_404_with_the_nearest_names(router: Routed) -> None:
    await router.serving()
    for path, nearest in (
        ("/v1/models/irsi/predict", ["iris"]),
        ("/v1/models/iris/versions/2/predict", ["iris:1"]),
        ("/v1/models/irsi/versions/1/raw/x", ["iris"]),
    ):
        answer = await router.http.post(path)
        assert answer.status_code == 404
        assert answer.json()["nearest"] == nearest
    answer = await router.http.post("/v1/models/Iris!/predict")
    assert (answer.status_code, "DNS label" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize("found", [each for each in State if each is not State.READY])
async def test_a_version_that_is_not_ready_says_so_at_once(router: Routed, found: State) -> None:
    await router.table.update(
        model_route(route(state=found, reason="exit code 3: no such file", hint="do that"))
    )
    answer = await router.predict()
    document = answer.json()
    assert (answer.status_code, document["type"]) == (503, "urn:longshore:problem:not-ready")
    assert document["state"] == found.value
    assert document["reason"] == "exit code 3: no such file"
    assert document["hint"] == "do that"
    waits = found in {State.PENDING, State.PULLING, State.STARTING}
    assert ("retry-after" in answer.headers) == waits
    assert router.table.load(route().version.key).last_request_at, "that was demand"


async def test_requests_are_sent_as_long_as_there_is_an_endpoint(router: Routed) -> None:
    replica = await router.replica()
    await router.table.update(model_route(route(replica, state=State.FAILED)))
    assert (await router.predict()).status_code == 200


async def test_predictions_are_not_upgraded(router: Routed) -> None:
    replica = await router.serving()
    reader, _ = await router.raw(
        b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 501")
    assert not replica.requests


async def test_an_encoded_slash_does_not_shift_the_path(router: Routed) -> None:
    replica = await router.serving()
    for path in ("/v1/models/iris/versions/1%2Fraw/x", "/v1/models/iris/versions/1%2Fraw/x/y/z"):
        reader, _ = await router.raw(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    assert not replica.requests


async def test_metrics_count_by_model_version_and_class(router: Routed) -> None:
    await router.serving()
    for _ in range(3):
        await router.predict()
    await router.table.update(
        model_route(*routes_of(router), route(number="2", state=State.FAILED))
    )
    await router.http.post("/v1/models/iris/versions/2/predict")
    await router.http.post("/v1/models/nobody/predict")
    found = await samples(router)
    assert found["longshore_requests_total", "2xx iris 1"] == 3
    assert found["longshore_request_seconds_count", "iris 1"] == 3
    assert found["longshore_request_seconds_bucket", "+Inf iris 1"] == 3
    assert found["longshore_requests_in_flight", "iris 1"] == 0
    assert found["longshore_endpoints", "iris 1"] == 1
    assert found["longshore_requests_total", "5xx iris 2"] == 1
    assert "nobody" not in str(found), "what anybody can type is no label"


async def test_the_labels_of_deleted_versions_go_with_them(router: Routed) -> None:
    await router.serving()
    await router.predict()
    assert "iris" in str(await samples(router))
    await router.table.remove("iris")
    assert "iris" not in str(await samples(router))


async def test_two_routers_in_one_process_have_metrics_of_their_own(router: Routed) -> None:
    await router.serving()
    await router.predict()
    other = Table(router.platform.hooks)
    build_app(router.platform, other)
    assert b"iris" not in exposition(registry_of(other))


async def test_the_metric_of_wakes_says_which_it_counts(router: Routed) -> None:
    counts = [0] * (len(WAKE_BOUNDS) + 1)
    counts[3] = 2
    told = exposition(registry_of(router.table, lambda: {IRIS: (counts, 1.5)})).decode()
    [wakes] = [
        each
        for each in text_string_to_metric_families(told)
        if each.name == "longshore_wake_seconds"
    ]
    for asked_by in ("a request", "a user", "a window", "expected calls"):
        assert asked_by in wakes.documentation
    assert "of wakes that came to it" in wakes.documentation
    values = {each.name + each.labels.get("le", ""): each.value for each in wakes.samples}
    assert values["longshore_wake_seconds_bucket0.5"] == 0
    assert values["longshore_wake_seconds_bucket1"] == 2
    assert values["longshore_wake_seconds_sum"] == 1.5


async def test_the_probes(router: Routed) -> None:
    assert (await router.http.get("/healthz")).json() == {"status": "ok"}
    early = await router.http.get("/readyz")
    assert (early.status_code, "first pass" in early.json()["detail"]) == (503, True)
    await router.controller.converge_once()
    assert (await router.http.get("/readyz")).status_code == 200


async def test_openapi_is_complete(router: Routed) -> None:
    document = (await router.http.get("/openapi.json")).json()
    OpenAPI.model_validate(document)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(re.findall(r'"(#/components/[^"]+)"', json.dumps(document))) <= known
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 20
    for path, method, operation in operations:
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        problem = operation["responses"]["default"]["content"]["application/problem+json"]
        assert problem["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}, where
    assert {"type", "title", "status", "detail", "instance"} <= set(
        document["components"]["schemas"]["ProblemDocument"]["required"]
    )
    assert set(document["paths"]["/v1/models/{name}/versions/{version}/raw/{path}"]) == {
        "delete", "get", "head", "options", "patch", "post", "put", "trace",
    }  # fmt: skip
    assert (await router.http.get("/docs")).status_code == 200


def routes_of(router: Routed) -> list[VersionRoute]:
    return [each.route for each in router.table.versions()]


async def samples(router: Routed) -> dict[tuple[str, str], float]:
    """Return all samples by their name and their labels' values, sorted by the labels' names."""
    answer = await router.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (
            sample.name,
            " ".join(value for _, value in sorted(sample.labels.items(), key=_by_name)),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _by_name(label: tuple[str, str]) -> tuple[bool, str]:
    name, _ = label
    return name in {"model", "version"}, name
