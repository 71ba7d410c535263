"""An image that an engine built is read on registration, and one that cannot be read is served."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_cli import EngineCli
from parts.platform import Up

pytestmark = pytest.mark.engine


def facts(up: Up) -> dict[str, Any]:
    decisions = up.json("explain", "behave:1")["decisions"]
    [told] = [each for each in decisions if each["hook"] == "longshore_profile_image"]
    assert told["plugin"] == "images"
    outcome: dict[str, Any] = told["outcome"]
    return outcome


def test_a_registration_tells_what_the_image_holds(up: Up, behave: str) -> None:
    registered = up.run("register", "behave", "1", behave)
    assert "Warning" not in registered.stderr
    found = facts(up)
    assert found["gpu_need"] == "none"
    assert found["scan"]["complete"] is True
    assert found["scan"]["entries"] > 1000
    # The report finds the same, from what the registration has kept.
    report = up.run("hardware", "report", behave, "--json", "--state", str(up.state))
    document = json.loads(report.stdout)["facts"]
    assert document["scan"]["value"] == found["scan"]
    assert report.stderr == ""


def test_an_image_that_is_not_read_in_time_is_served_with_a_warning(
    tmp_path: Path, engine_cli: EngineCli, behave: str
) -> None:
    settings = '[[plugin]]\nname = "images"\nsettings = { seconds = 0.001 }\n'
    (tmp_path / "plugins.toml").write_text(settings)
    up = Up(tmp_path, engine_cli)
    up.start()
    try:
        registered = up.run("register", "behave", "1", behave)
        assert "Warning: not all of the image was read" in registered.stderr
        assert "was not read to its end within 0.001 s" in registered.stderr
        assert up.predict("hello").text == "hello"
        assert facts(up)["scan"]["complete"] is False
    finally:
        up.clean_up()
