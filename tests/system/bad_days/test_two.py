"""Two installations, each with a database of its own, share one namespace."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cli import EngineCli
from parts.kubectl import Kubectl
from parts.platform import Up, on_cluster, until
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import tell

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def two(tmp_path: Path, engine_cli: EngineCli, kubectl: Kubectl) -> Iterator[tuple[Up, Up]]:
    """Two platforms whose only backend is the same namespace of a cluster."""
    both = []
    for name in ("one", "other"):
        directory = tmp_path / name
        directory.mkdir()
        on_cluster(directory, kubectl.namespace)
        both.append(Up(directory, engine_cli))
    one, other = both
    try:
        one.start()
        other.start()
        yield one, other
    finally:
        for each in both:
            each.clean_up()


def objects(kubectl: Kubectl, owner: str) -> dict[str, str]:
    """Return the objects of an installation, and what each was made as."""
    found = kubectl.get(
        "deployments,services,poddisruptionbudgets,pods", f"--selector=longshore.io/owner={owner}"
    )["items"]
    return {f"{each['kind']} {each['metadata']['name']}": each["metadata"]["uid"] for each in found}


def owners(kubectl: Kubectl) -> set[str]:
    """Return the installations that have pods there."""
    return {
        each["metadata"]["labels"]["longshore.io/owner"] for each in kubectl.get("pods")["items"]
    }


def told(up: Up) -> str:
    """Return which installation answers, by the environment that its model has."""
    environment = up.get("/v1/models/behave/versions/1/raw/environment").json()
    return str(environment["MINE"])


def test_the_same_model_and_version_in_two_databases(
    two: tuple[Up, Up], behave: str, kubectl: Kubectl, ledger: Ledger
) -> None:
    one, other = two
    options = ("--min", "2", "--max", "4", "--env", ledger.option)
    one.run("register", "behave", "1", behave, *options, "--env", "MINE=one")
    [first] = owners(kubectl)
    before = objects(kubectl, first)
    assert until(lambda: one.status()["ready"] == 2)
    before = objects(kubectl, first)
    with steady_load(one.url, ledger) as load:
        other.run("register", "behave", "1", behave, *options, "--env", "MINE=other")
        [second] = owners(kubectl) - {first}
        assert (told(one), told(other)) == ("one", "other")
        assert objects(kubectl, first) == before
        # What one of them deletes, scales, stops or makes again is its own alone.
        other.run("sleep", "behave:1")
        assert until(lambda: not kubectl.live_pods(f"longshore.io/owner={second}"))
        other.run("wake", "behave:1")
        assert until(lambda: other.status()["ready"] == 2)
        other.run("delete", "behave:1")
        assert until(lambda: not objects(kubectl, second))
        other.run("register", "behave", "1", behave, *options, "--env", "MINE=other")
        assert told(other) == "other"
        assert other.stop() == 0
        assert until(lambda: not objects(kubectl, second))
        assert objects(kubectl, first) == before
    load.assert_spotless()
    assert told(one) == "one"
    shown = json.loads(one.run("show", "behave:1", "--json").stdout)["status"]
    assert (shown["state"], shown["failures"]) == ("ready", 0)
    tell("two Longshores on one namespace", load.summary(), "ready, each its own", 0)
