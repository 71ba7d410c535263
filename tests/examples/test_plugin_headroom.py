"""A third party's plugin, installed with pip, is enabled by plugins.toml alone, and decides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_cli import EngineCli
from parts.platform import Up
from parts.wheels import REPOSITORY, build_example, build_longshore, fresh_environment, run_python

PLUGIN = REPOSITORY / "examples" / "plugin-headroom"

DECIDE = """
import asyncio, json, sys
from pathlib import Path
from longshore import HardwarePlan, Node, NodeProfile, StartRefused, VersionSpec
from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import read_plugins_file

try:
    plugins = build_plugins(read_plugins_file(Path(sys.argv[1])))
except StartRefused as refused:
    print(json.dumps({"message": refused.message, "hint": refused.hint}))
    sys.exit()

async def ask(hook, memory_mib):
    node = Node(name="n", architecture="amd64", cpu_millicores=4000, memory_mib=memory_mib)
    answers, failures = await plugins.hooks.every(
        hook,
        version=VersionSpec(image="iris"),
        plan=HardwarePlan(memory_mib=1024),
        node=NodeProfile(node=node),
    )
    assert not failures, failures
    return {answer.plugin: answer.value for answer in answers}

async def main():
    print(json.dumps({
        "loaded": [[each.name, each.version, each.origin, each.hooks] for each in plugins.loaded],
        "against": await ask("longshore_filter_node", 2000),
        "for": await ask("longshore_filter_node", 4096),
        "score": await ask("longshore_score_node", 2048),
    }))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headroom")
    wheels = build_longshore(folder), build_example("plugin-headroom", folder)
    return fresh_environment(folder / "venv", *wheels)


def decide(python: Path, folder: Path, plugins_toml: str) -> dict[str, object]:
    path = folder / "plugins.toml"
    path.write_text(plugins_toml)
    told = json.loads(run_python(python, DECIDE, str(path), cwd=folder))
    assert isinstance(told, dict)
    return told


NOTHING: dict[str, list[str]] = {"fit": [], "architecture": [], "gpu_class": []}
"""What the built-in plugins have against a node that will do."""


def test_it_decides_as_soon_as_plugins_toml_names_it(python: Path, tmp_path: Path) -> None:
    told = decide(
        python, tmp_path, '[[plugin]]\nname = "headroom"\nsettings = { reserve = 1024 }\n'
    )
    loaded = told["loaded"]
    assert isinstance(loaded, list)
    assert loaded[0] == [
        "headroom",
        "0.1.0",
        "longshore-headroom",
        ["longshore_filter_node", "longshore_score_node"],
    ]
    assert told["against"] == {
        "headroom": ["976 MiB of memory would be left, and 1024 MiB stay free"],
        **NOTHING,
    }
    assert told["for"] == {"headroom": [], **NOTHING}
    assert told["score"] == {"headroom": 50, "gpu_class": 100, "numa": 50, "spreading": 50}


def test_it_decides_nothing_while_plugins_toml_does_not_name_it(
    python: Path, tmp_path: Path
) -> None:
    told = decide(python, tmp_path, "")
    assert told["against"] == NOTHING
    loaded = told["loaded"]
    assert isinstance(loaded, list)
    assert {origin for _, _, origin, _ in loaded} == {"longshore"}


def test_its_settings_are_checked_at_the_start(python: Path, tmp_path: Path) -> None:
    told = decide(python, tmp_path, '[[plugin]]\nname = "headroom"\nsettings.reserve = -1\n')
    assert told == {
        "message": f"{tmp_path}/plugins.toml, line 3: plugin 'headroom' (longshore-headroom "
        "0.1.0): setting reserve: Input should be greater than 0",
        "hint": "Settings of headroom: reserve.",
    }


@pytest.mark.engine
def test_it_decides_where_a_real_version_may_run(
    python: Path, tmp_path: Path, engine_cli: EngineCli, behave: str
) -> None:
    enabled = '[[plugin]]\nname = "headroom"\nsettings = { reserve = 64 }\n'
    (tmp_path / "plugins.toml").write_text(enabled)
    up = Up(tmp_path, engine_cli, program=python.with_name("longshore"))
    try:
        up.start()
        up.run("register", "behave", "1", behave, "--memory", "64Mi")
        decided = {
            each["hook"]
            for each in up.json("explain", "behave:1")["decisions"]
            if each["plugin"] == "headroom"
        }
        assert decided == {"longshore_filter_node", "longshore_score_node"}
        # More than any machine has.
        refused = up.run("register", "behave", "2", behave, "--memory", "900T", check=False)
        assert refused.returncode == 1
        assert "headroom on" in refused.stderr
    finally:
        up.clean_up()


def test_its_own_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={PLUGIN}"],
        env={**os.environ, "PYTHONPATH": str(PLUGIN), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=PLUGIN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
