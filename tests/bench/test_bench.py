"""The benchmark works: it measures all subjects, writes its page, and ends cleanly.

How fast anything is, is not asked here; docs/performance.md tells.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = ".venv/bin/python -m bench --quick --only requests"
"""As docs/performance.md has it."""

BENCH = [sys.executable, *COMMAND.split()[1:]]
OURS = {"backend alone", "nginx", "HAProxy", "Longshore"}
PEERS = {"ASGI + aiohttp", "FastAPI + httpx"}
"""Other people's clients, which fail at times; then the run says how, and the table counts it."""
SUBJECTS = OURS | PEERS


@pytest.fixture(autouse=True)
def parts() -> None:
    for part in ("wrk", "nginx", "haproxy"):
        if shutil.which(part, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"{part} is missing: apt-get install wrk nginx haproxy")


def of_the_benchmark(scratch: Path) -> Iterator[str]:
    """Yield the command lines of processes that know the folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(scratch) in f"{line} {where}":
            yield line


def test_every_subject_answers_without_errors(tmp_path: Path) -> None:
    page, numbers = tmp_path / "performance.md", tmp_path / "numbers.json"
    page.write_text("# By hand\n\n<!-- bench: begin -->\nold\n<!-- bench: end -->\n\nAfter.\n")
    documented = (REPOSITORY / "docs" / "performance.md").read_text()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [*BENCH, "--page", str(page), "--json", str(numbers)],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Ray Serve was not measured" in done.stdout

    result, heads = json.loads(numbers.read_text())["results"]
    assert set(heads["rows"]) == SUBJECTS - PEERS
    assert set(result["rows"]) == SUBJECTS
    for subject, row in result["rows"].items():
        assert row["requests/s"] > 0, subject
        assert row["errors"] == 0 or subject in PEERS, f"{subject}:\n{done.stdout}"

    written = page.read_text()
    assert written.startswith("# By hand")
    assert written.endswith("After.\n")
    assert "old" not in written
    assert all(f"| {subject} |" in written for subject in SUBJECTS)
    assert "(performance/requests.svg)" in written
    assert (tmp_path / "performance" / "requests.svg").read_text().count("<rect") == len(SUBJECTS)
    assert (REPOSITORY / "docs" / "performance.md").read_text() == documented

    assert list(scratch.iterdir()) == []
    assert list(of_the_benchmark(scratch)) == []


def test_a_steady_client_and_two_workers_are_measured(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    wanted = [
        "--only",
        "half-rate",
        "--only",
        "workers",
        "--seconds",
        "0.5",
        "--json",
        str(numbers),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", *wanted],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    results = {each["name"]: each["rows"] for each in json.loads(numbers.read_text())["results"]}
    steady = {"half-rate"}
    if "Not measured undisturbed" not in done.stdout:
        steady.add("half-rate-undisturbed")
    assert set(results) == {*steady, "workers"}
    for name in steady:
        assert set(results[name]) == OURS
        for row in results[name].values():
            assert row["errors"] == 0
            assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["longest ms"]
            assert row["core %"] > 0
    one, two = results["workers"]["1 worker"], results["workers"]["2 workers"]
    assert one["errors"] == two["errors"] == 0
    # Both of them answer; how evenly depends on who else uses the cores.
    assert two["smaller share %"] > 0


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    bench = subprocess.Popen(
        BENCH,
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any("router_under_test" in line for line in of_the_benchmark(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    bench.send_signal(signal.SIGINT)
    _, said = bench.communicate(timeout=60)
    assert bench.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert list(of_the_benchmark(tmp_path)) == []


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        BENCH,
        cwd=REPOSITORY,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "bench: wrk is not installed: apt-get install wrk nginx haproxy\n"
