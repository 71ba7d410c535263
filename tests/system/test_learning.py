"""What a version uses is measured while it runs, survives a crash, and plans go by it."""

from typing import Any

import pytest
from parts.platform import Up, until

pytestmark = pytest.mark.engine


def plan(up: Up, number: str) -> dict[str, Any]:
    found: dict[str, Any] = up.json("show", f"behave:{number}")["version"]["placement"]["plan"]
    return found


def test_a_version_is_measured_and_another_of_the_same_image_is_planned_by_it(
    up: Up, behave: str
) -> None:
    spec = (behave, "--env", "EAT=200", "--memory", "300Mi")
    up.run("register", "behave", "1", *spec)
    assert plan(up, "1")["memory_measured_mib"] is None
    assert until(lambda: plan(up, "1")["memory_measured_mib"], 120), up.log.read_text()
    used = plan(up, "1")["memory_measured_mib"]
    assert 200 <= used < 300
    assert f"measured {used} MiB" in up.run("show", "behave:1").stdout
    assert "measured while behave:1 ran, " in up.run("explain", "behave:1").stdout.replace(
        "\n", " "
    )
    digest = up.json("show", "behave:1")["version"]["image"]["digest"]
    [kept] = up.get(f"/api/measures/{digest}").json()["measures"]
    assert (kept["memory_mib"], kept["resources"]["memory"]) == (used, "300Mi")
    up.kill()
    up.start()
    [again] = up.get(f"/api/measures/{digest}").json()["measures"]
    assert again["memory_mib"] == used
    # The same settings, and others.
    same = up.run("register", "behave", "2", *spec, "--min", "0", "--preflight").stdout
    assert f"memory measured {used} MiB" in same
    assert "measured-memory (" in same or "measured-memory unknown (" in same
    less = (behave, "--env", "EAT=200", "--memory", "210Mi")
    small = up.run("register", "behave", "3", *less, "--preflight")
    assert f"{used} MiB, measured while behave:1 ran" in small.stdout
    assert "with other settings" in small.stdout
    if used > 0.9 * 210:
        assert "Warning: measured: the memory limit of 210 MiB is" in small.stderr
    report = up.json("hardware", "report", behave, "--cluster", "--memory", "300Mi")
    assert report["facts"]["memory_measured"]["value"] == used
