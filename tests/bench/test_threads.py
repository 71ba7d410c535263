"""The benchmark of the rule ``threads`` runs, and compares what it says that it compares."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from engine_cli import EngineCli

ROOT = Path(__file__).parents[2]


@pytest.mark.engine
def test_threads_by_default_and_as_planned_are_measured(
    engine_cli: EngineCli, registry: str
) -> None:
    command = [sys.executable, "-m", "bench.threads", "--model=network", "--cpu=1"]
    done = subprocess.run(
        [*command, "--rounds=1", "--seconds=0.5"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [row] = [line for line in done.stdout.splitlines() if line.startswith("| network")]
    by_default, planned = re.findall(r"([0-9]+) / ([0-9]+)", row)[0]
    assert int(by_default) >= 1, "one for each core of this machine"
    assert int(planned) == 1
