"""Wheels built from this repository, and fresh environments to install them into.

Third-party packages are not downloaded again: a fresh environment sees those of the one that runs
the tests. Longshore itself, and what is built here, it has only from the wheels.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("core", "plugins", "router", "hardware")
_LEAVE_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")


def build_longshore(into: Path) -> Path:
    """Build the repository's wheel."""
    with tempfile.TemporaryDirectory(prefix="longshore-wheel-") as scratch:
        # A copy, since setuptools would take stale files of an earlier build with it.
        copy = Path(scratch)
        for name in (*ROOMS, "src"):
            shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=_LEAVE_OUT)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(REPOSITORY / name, copy)
        return _build(copy, into)


def build_example(name: str, into: Path) -> Path:
    """Build the wheel of a distribution in ``examples/``."""
    with tempfile.TemporaryDirectory(prefix="longshore-wheel-") as scratch:
        copy = Path(scratch, name)
        shutil.copytree(REPOSITORY / "examples" / name, copy, ignore=_LEAVE_OUT)
        return _build(copy, into)


def fresh_environment(folder: Path, *wheels: Path) -> Path:
    """Make a virtual environment, install wheels into it with pip, and return its Python."""
    _run(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(site, "third_party.pth").write_text(sysconfig.get_path("purelib"))
    _run(python, "-m", "pip", "install", "--quiet", "--no-index", "--force-reinstall",
         "--no-deps", *wheels)  # fmt: skip
    # Whatever the wheels say they need must be there.
    _run(python, "-m", "pip", "install", "--quiet", "--no-index", *wheels)
    return python


def run_python(python: Path, code: str, *arguments: str, cwd: Path) -> str:
    """Run code in an environment, out of sight of the repository, and return what it prints."""
    return _run(python, "-c", code, *arguments, cwd=cwd)


def _build(source: Path, into: Path) -> Path:
    before = set(into.glob("*.whl"))
    _run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"),
        *("--no-build-isolation", "--wheel-dir", into, source),
    )
    (wheel,) = set(into.glob("*.whl")) - before
    return wheel


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
