"""``python -m bench``: options, the order of things, and a clean end."""

import argparse
import contextlib
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from bench import report
from bench.measures import MEASURES
from bench.processes import BenchFailed, Cores, Programs, need
from bench.rounds import Bench
from bench.subjects import Subjects

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROUNDS, SECONDS = 5, 2.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 1.0


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write; return the exit status."""
    options = _parser().parse_args(arguments)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    try:
        for program in ("wrk", "nginx", "haproxy"):
            need(program)
        with tempfile.TemporaryDirectory(prefix="longshore-bench-") as scratch:
            _run(options, Path(scratch), shlex.join(["python", "-m", "bench", *arguments]))
    except BenchFailed as failed:
        click.echo(f"bench: {failed}", err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("\nbench: stopped; nothing of it is left running.", err=True)
        return 130
    return 0


def _run(options: argparse.Namespace, scratch: Path, command: str) -> None:
    cores = Cores.shared_out()
    machine = report.machine_facts(cores)
    if options.ray_python:
        machine["programs"] += f", Ray {_ray_version(options.ray_python)}"
    for name, value in machine.items():
        click.echo(f"{name}: {value}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if cores.load:
        # What we start runs where we do, unless it is told otherwise.
        os.sched_setaffinity(0, cores.load)
    bench = Bench(
        subjects=Subjects(Programs(scratch, cores)),
        rounds=QUICK_ROUNDS if options.quick else ROUNDS,
        seconds=options.seconds or (QUICK_SECONDS if options.quick else SECONDS),
        full=not options.quick,
        ray_python=options.ray_python,
        say=lambda line: click.echo(f"{time.strftime('%H:%M:%S')} {line}"),
    )
    results: list[report.Result] = []
    for name in options.only or MEASURES:
        for result in MEASURES[name](bench):
            click.echo(f"{report.text(result)}\n")
            results.append(result)
            if options.json:
                options.json.write_text(report.as_json(results, machine))
    page = options.page or (None if options.quick or options.only else PAGE)
    if page:
        report.write_page(page, results, machine, command)
        click.echo(f"Written: {page}, and its pictures in {page.with_suffix('')}")
    else:
        click.echo(f"{PAGE.name} is left as it was: a run of a part goes only where --page says.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Longshore's request path side by side with others'. A run of "
        "everything takes some 20 minutes, and writes docs/performance.md.",
    )
    rounds = f"{QUICK_ROUNDS} rounds of {QUICK_SECONDS:.0f} s instead of {ROUNDS} of {SECONDS:.0f}"
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a round; default 2")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{rounds}, no bodies of 1 GiB, fewer open streams; writes no page",
    )
    parser.add_argument(
        "--only", action="append", choices=MEASURES, help="measure this alone; may be repeated"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the tables and pictures there instead"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument(
        "--ray-python", type=_python, metavar="PATH", help="a Python that has ray[serve]"
    )
    return parser


def _python(path: str) -> Path:
    # Not resolved: a virtual environment's Python is a link that must keep its place.
    found = Path(path).absolute()
    if not _ray_version(found):
        raise argparse.ArgumentTypeError(f"{path} has no Ray: pip install 'ray[serve]'")
    return found


def _ray_version(python: Path) -> str:
    """Return the version of Ray that a Python has; empty if none."""
    asking = "from importlib.metadata import version; print(version('ray'))"
    with contextlib.suppress(OSError):
        done = subprocess.run(  # noqa: S603 - the program that the user named
            [python, "-c", asking], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()
    return ""


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # One is enough: another would cut the cleaning up short.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
