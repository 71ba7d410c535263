"""What a user is told of the hardware plan, and what becomes of it in a container."""

import json

import pytest
from engine_cli import EngineCli
from parts.platform import Up

pytestmark = pytest.mark.engine

REGISTER = ("register", "behave", "1")


def test_a_preflight_tells_the_plan_and_stores_nothing(up: Up, behave: str) -> None:
    fits = up.run(*REGISTER, behave, "--cpu", "1", "--memory", "256Mi", "--preflight")
    plan, why = fits.stdout.splitlines()
    assert "no GPU, 1 core, 1 thread per worker, 256 MiB memory; on " in plan
    assert plan.endswith("(engine)")
    assert "architecture (image: linux/" in why
    large = up.run(*REGISTER, behave, "--memory", "64Ti", "--preflight", check=False)
    assert large.returncode == 1
    assert "64 TiB memory" in large.stdout
    assert "no node fits: fit on " in large.stderr
    other = up.run(*REGISTER, behave, "--arch", "s390x", "--preflight", check=False)
    assert other.returncode == 1
    assert "no node of the architecture s390x that was asked for" in other.stderr
    label = up.run(*REGISTER, behave, "--node-selector", "disk=ssd", check=False)
    assert label.returncode == 1
    assert "it lacks the label disk=ssd" in label.stderr
    assert up.json("models") == {"models": []}


def test_threads_of_the_plan_are_in_the_container(
    up: Up, behave: str, engine_cli: EngineCli
) -> None:
    told = up.run(
        *REGISTER,
        behave,
        "--cpu",
        "1.5",
        "--env",
        "OMP_NUM_THREADS=2",
        "--env",
        "WEB_CONCURRENCY=2",
    )
    assert "Plan: no GPU, 1.5 cores, 1 thread per worker, no memory limit" in told.stderr
    assert "Warning: OMP_NUM_THREADS=2 starts more threads than" in told.stderr
    [container] = up.containers()
    env = json.loads(engine_cli.run("inspect", container))[0]["Config"]["Env"]
    assert {"OMP_NUM_THREADS=2", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1"} <= set(env)


def test_what_fits_nowhere_is_registered_by_who_insists(up: Up, behave: str) -> None:
    wish = (behave, "--node-selector", "disk=ssd", "--cpu", "500m")
    assert up.run(*REGISTER, *wish, check=False).returncode == 1
    forced = up.run(*REGISTER, *wish, "--force", "--no-wait")
    assert "no node of engine fits" in forced.stderr
    [model] = up.json("models")["models"]
    [record] = model["versions"]
    assert record["version"]["spec"]["node_selector"] == {"disk": "ssd"}
