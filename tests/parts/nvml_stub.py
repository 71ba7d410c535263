"""A stand-in for NVIDIA's library, built with the C compiler, which any program then finds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")


def build(folder: Path, *left_out: str) -> Path:
    """Build the library in a folder of its own, without some functions; skip without a compiler."""
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("no gcc on PATH: apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    without = [f"-DWITHOUT_{each}" for each in left_out]
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *without]
    subprocess.run([*command, "-o", library, _SOURCE], check=True)
    return folder


def use(monkeypatch: pytest.MonkeyPatch, folder: Path, **behaviour: str) -> None:
    """Let programs that are started from now on find the library, and say how it behaves."""
    before = os.environ.get("LD_LIBRARY_PATH", "")
    monkeypatch.setenv(
        "LD_LIBRARY_PATH", f"{folder}{os.pathsep}{before}" if before else str(folder)
    )
    for name, value in behaviour.items():
        monkeypatch.setenv(f"STUB_{name.upper()}", value)
