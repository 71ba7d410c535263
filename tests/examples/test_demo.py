"""`make demo`, the first command of the README: whole, and interrupted at each of its steps."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cli import EngineCli

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def start(scratch: Path) -> subprocess.Popen[str]:
    """Start `make demo` as a terminal does: in a process group that gets Ctrl-C as a whole."""
    return subprocess.Popen(
        ["make", "demo"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def nothing_left(tmp_path: Path, engine_cli: EngineCli) -> Iterator[Path]:
    """A directory for the demo's files; in the end nothing of the demo may be left anywhere."""
    yield tmp_path
    labelled = engine_cli.run(
        "ps", "--all", "--format", "{{.ID}} {{.Labels}}", "--filter", "label=io.longshore.owner"
    )
    assert str(tmp_path) not in labelled
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def processes_of(directory: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if str(directory) in command:
            found.append(command.replace("\0", " "))
    return found


def test_the_demo_serves_a_trained_model_with_the_same_accuracy(nothing_left: Path) -> None:
    demo = start(nothing_left)
    output, _ = demo.communicate(timeout=590)
    assert demo.returncode == 0, output
    through = re.search(r"through Longshore\s+(\d+) of 100", output)
    without = re.search(r"without it\s+(\d+) of 100", output)
    assert through, output
    assert without, output
    assert through[1] == without[1]
    assert int(through[1]) > 90
    assert re.search(r"p50 [\d.]+ ms, p95 [\d.]+ ms", output)


def test_a_second_run_takes_under_a_minute(nothing_left: Path) -> None:
    begun = time.monotonic()
    demo = start(nothing_left)
    output, _ = demo.communicate(timeout=590)
    assert demo.returncode == 0, output
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    "step", ["Building", "Starting longshore up", "Registering", "Sending", "Cleaning up"]
)
def test_ctrl_c_at_any_step_leaves_nothing_behind(nothing_left: Path, step: str) -> None:
    demo = start(nothing_left)
    assert demo.stdout
    seen = ""
    for line in demo.stdout:
        seen += line
        if line.startswith(step):
            break
    assert step in seen, seen
    # Into the middle of the step.
    time.sleep(0.3)
    os.killpg(demo.pid, signal.SIGINT)
    rest, _ = demo.communicate(timeout=120)
    assert "Traceback" not in rest, rest
    # What cleans up already comes to its end.
    assert demo.returncode != 0 or step in {"Sending", "Cleaning up"}
