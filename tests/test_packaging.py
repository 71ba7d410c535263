"""The wheel has everything, and importing it costs little."""

import ast
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from parts.wheels import REPOSITORY, ROOMS, build_longshore, fresh_environment, run_python

HEAVY = {"aiohttp", "fastapi", "kubernetes", "psycopg", "pynvml", "ray", "sqlalchemy", "uvicorn"}
MOST_SECONDS = 0.5


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_longshore(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_environment(tmp_path_factory.mktemp("empty") / "venv", wheel)


def test_the_wheel_holds_every_file_of_the_four_rooms(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"longshore/{each.relative_to(REPOSITORY)}"
        for room in ROOMS
        for each in (REPOSITORY / room).rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    assert ours - packed == set()
    assert "longshore/py.typed" in packed
    assert {name.split("/")[0] for name in packed} <= {"longshore", "longshore-0.1.0.dist-info"}


def imported(folder: Path) -> set[str]:
    """Return the top-level modules that the code of a folder imports."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def test_the_wheel_asks_for_everything_that_it_imports() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = (each for extra in project["optional-dependencies"].values() for each in extra)
    declared = {
        canonicalize_name(Requirement(each).name) for each in (*project["dependencies"], *extras)
    }
    folders = (*(REPOSITORY / room for room in ROOMS), REPOSITORY / "src" / "longshore")
    modules = set[str]().union(*(imported(folder) for folder in folders))
    # Of the standard library, too, but only from Python 3.14 on.
    modules -= sys.stdlib_module_names | {"longshore", "compression"}
    providers = packages_distributions()
    for module in sorted(modules):
        names = {canonicalize_name(each) for each in providers[module]}
        assert names & declared, f"{module} comes from {names}, which is not declared"


def test_all_rooms_come_from_the_wheel(python: Path, tmp_path: Path) -> None:
    names = ["longshore", *(f"longshore.{room}" for room in ROOMS)]
    code = f"import {', '.join(names)}; print(*(each.__file__ for each in ({', '.join(names)})))"
    files = run_python(python, code, cwd=tmp_path).split()
    assert len(files) == len(names)
    assert all(Path(each).is_relative_to(python.parents[1]) for each in files)


def test_every_plugin_of_the_wheel_can_be_loaded(python: Path, tmp_path: Path) -> None:
    code = """
from importlib.metadata import entry_points
for point in entry_points(group="longshore.plugins"):
    print(point.name, point.load())
"""
    loaded = run_python(python, code, cwd=tmp_path)
    assert {line.split()[0] for line in loaded.splitlines()} == {
        "api_keys",
        "architecture",
        "balancing",
        "contracts",
        "engine",
        "fit",
        "gpu_class",
        "hardware_plan",
        "image_locality",
        "images",
        "kubernetes",
        "nodes",
        "numa",
        "packing",
        "scaling",
        "spreading",
        "sql_registry",
        "wake_ahead",
    }


def test_importing_longshore_is_quick(python: Path, tmp_path: Path) -> None:
    code = "import time; t = time.process_time(); import longshore; print(time.process_time() - t)"
    best = min(float(run_python(python, code, cwd=tmp_path)) for _ in range(3))
    assert best < MOST_SECONDS


def test_importing_longshore_pulls_in_nothing_heavy(python: Path, tmp_path: Path) -> None:
    code = f"import sys, longshore; print(*({HEAVY!r} & sys.modules.keys()))"
    assert run_python(python, code, cwd=tmp_path).split() == []
