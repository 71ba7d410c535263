"""Versions that nobody calls any more, on the real engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cli import EngineCli
from parts.backends import pinned
from parts.images import push_image
from parts.platform import Up, until

pytestmark = pytest.mark.engine

A_SECOND = "0.00001"
"""In days."""


@pytest.fixture(params=["false", "true"], ids=["stays", "woken by a request"])
def up(request: pytest.FixtureRequest, tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    environment = {"LONGSHORE_RETENTION": "0", "LONGSHORE_WAKE_COLLECTED": request.param}
    platform = Up(tmp_path, engine_cli, environment=environment)
    platform.start()
    yield platform
    platform.clean_up()


def test_an_old_version_is_collected_and_comes_back(
    up: Up, engine_cli: EngineCli, behave: str, registry: str, request: pytest.FixtureRequest
) -> None:
    old = push_image("behave", registry, "collected")
    up.run("register", "behave", "1", old, "--retention", A_SECOND)
    up.run("register", "behave", "2", behave)
    assert until(lambda: up.json("gc", "--plan")["verdicts"][0]["collect"])
    assert "behave:1" in up.run("gc", "--plan").stdout
    assert up.status()["state"] == "ready", "a plan changes nothing"
    up.run("pin", "behave:1")
    assert up.run("gc").stdout == "Nothing is to be collected.\n"
    up.run("unpin", "behave:1")

    said = up.run("gc").stdout
    assert "behave:1 is collected: nobody called it" in said
    assert until(lambda: up.status()["state"] == "collected")
    assert until(lambda: not engine_cli.has_image(pinned(old)))
    assert up.status(version="2")["state"] == "ready"
    assert "collect" in up.run("explain", "behave:1").stdout

    path = f"{up.url}/v1/models/behave/versions/1/predict"
    answer = up.post(path, "hello")
    if "woken by a request" in request.node.name:
        assert (answer.status_code, answer.text) == (200, "hello")
        assert float(answer.headers["x-longshore-cold-start"]) > 0
        assert "a request came while it was collected" in up.run("explain", "behave:1").stdout
    else:
        assert answer.status_code == 503
        assert "behave:1 is collected" in answer.json()["detail"]
        assert "longshore wake behave:1" in answer.json()["hint"]
        up.run("wake", "behave:1")
        assert up.post(path, "hello").text == "hello"
