"""Versions whose container is kept frozen while they sleep, on the real engine."""

import pytest
from engine_cli import EngineCli
from parts.backends import pinned
from parts.images import push_image
from parts.platform import Up, until

pytestmark = pytest.mark.engine

A_SECOND = "0.00001"
"""In days."""


@pytest.fixture
def plugins() -> str:
    return '[[plugin]]\nname = "engine"\nsettings = { when_asleep = "pause" }\n'


def frozen(up: Up, engine_cli: EngineCli) -> list[str]:
    """Return the containers that are frozen."""
    shown = [(each, engine_cli.run("inspect", each)) for each in up.containers()]
    return [each for each, inspected in shown if '"paused"' in inspected]


def asleep(up: Up, engine_cli: EngineCli) -> str:
    """Put version 1 to sleep, and return the container that is kept."""
    up.run("sleep", "behave:1")
    assert until(lambda: len(frozen(up, engine_cli)) == 1), up.log.read_text()
    assert until(lambda: up.status()["state"] == "asleep")
    return frozen(up, engine_cli)[0]


def test_a_request_wakes_the_very_container_also_after_a_crash(
    up: Up, engine_cli: EngineCli, behave: str
) -> None:
    up.run("register", "behave", "1", behave, "--min", "0", "--idle", "0")
    kept = asleep(up, engine_cli)
    assert until(lambda: "with its memory kept" in up.run("show", "behave:1").stdout)
    up.kill()
    up.start()
    assert up.status()["state"] == "asleep"
    answer = up.predict("good morning")
    assert (answer.status_code, answer.text) == (200, "good morning")
    assert float(answer.headers["x-longshore-cold-start"]) > 0
    assert up.containers() == [kept]
    assert frozen(up, engine_cli) == []

    def wake() -> dict[str, object]:
        return dict(up.json("show", "behave:1")["wakes"][-1])

    assert until(lambda: wake()["first_byte_at"]), wake()
    moments = [wake()[each] for each in ("asked_at", "started_at", "ready_at", "first_byte_at")]
    assert moments == sorted(moments, key=str)
    up.run("delete", "behave:1")
    assert until(lambda: not up.containers()), up.log.read_text()


def test_what_is_kept_goes_when_its_version_is_collected(
    up: Up, engine_cli: EngineCli, behave: str, registry: str
) -> None:
    old = push_image("behave", registry, "kept")
    up.run("register", "behave", "1", old, "--retention", A_SECOND)
    up.run("register", "behave", "2", behave)
    asleep(up, engine_cli)
    assert until(lambda: up.json("gc", "--plan")["verdicts"][0]["collect"])
    up.run("gc")
    assert until(lambda: up.status()["state"] == "collected")
    assert frozen(up, engine_cli) == []
    assert until(lambda: not engine_cli.has_image(pinned(old)))
    assert len(up.containers()) == 1
