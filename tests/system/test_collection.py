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


STAYS: dict[str, str] = {}
WOKEN = {"LONGSHORE_WAKE_COLLECTED": "true"}
DELETED = {"LONGSHORE_DELETE_COLLECTED": "true"}


@pytest.fixture(params=[STAYS, WOKEN], ids=["stays", "woken by a request"])
def up(request: pytest.FixtureRequest, tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    environment = {"LONGSHORE_RETENTION": "0", **request.param}
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


@pytest.mark.parametrize("up", [STAYS], indirect=True, ids=[""])
def test_the_newest_being_collected_the_older_one_answers_and_what_was_deleted_is_freed(
    up: Up, engine_cli: EngineCli, registry: str
) -> None:
    images = [push_image("behave", registry, f"older-{number}") for number in "12"]
    up.run("register", "behave", "1", images[0])
    up.run("register", "behave", "2", images[1], "--retention", A_SECOND)
    up.run("traffic", "behave", "1=100")
    assert until(lambda: up.json("gc", "--plan")["verdicts"][0]["collect"])
    up.run("gc")
    up.run("traffic", "behave", "--clear")
    path = f"{up.url}/v1/models/behave/predict"
    assert until(lambda: up.post(path, "hello").status_code == 200, 2)
    assert until(lambda: up.status(version="2")["state"] == "collected")
    assert up.post(path, "hello").headers["x-longshore-version"] == "behave:1"
    up.run("delete", "behave:1")
    assert "Images that deleted versions left" in up.run("gc").stdout
    assert until(lambda: not engine_cli.has_image(pinned(images[0])))


@pytest.mark.parametrize("up", [DELETED], indirect=True, ids=[""])
def test_an_image_that_is_deleted_from_its_registry_is_told_of(
    up: Up, behave: str, registry: str
) -> None:
    old = push_image("behave", registry, "deleted")
    up.run("register", "behave", "1", old, "--retention", A_SECOND)
    up.run("register", "behave", "2", behave)
    assert until(lambda: up.json("gc", "--plan")["without_image"])
    assert "The image of behave:1 would be deleted" in up.run("gc", "--plan").stdout
    assert "longshore wake" not in up.run("gc").stdout
    assert until(lambda: "its image was deleted" in up.status()["reason"])
    assert "was deleted from its registry" in up.run("events").stdout
    assert "longshore_delete_image" in up.run("explain", "behave:1").stdout
    refused = up.run("wake", "behave:1", check=False).stderr
    assert "behave:1 cannot be brought back" in refused
    assert "Push the image" in refused
