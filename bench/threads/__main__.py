"""What the rule ``threads`` gains: ``python -m bench.threads``.

Two versions of the same image with the same CPU limit run side by side on this machine. One is as
planned, so that libraries start as many threads as the limit has cores; for the other one the
variables that say so are empty, so that they start one for each core of the machine. Clients ask
both in turn, each as soon as it has its answer.
"""

import argparse
import asyncio
import contextlib
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.processes import BenchFailed
from longshore.hardware.rules.environment import THREADS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples" / "parts"))

from base_image import cache_directory  # noqa: E402 - needs the path
from engine_cli import PartMissing, find_engine_cli  # noqa: E402
from interrupts import end_on_signals  # noqa: E402
from oci_registry import oci_registry  # noqa: E402
from pack import pack  # noqa: E402
from platform_up import PlatformFailed, longshore, longshore_up  # noqa: E402

MODELS = {"network": "network (numpy, OpenBLAS)", "trees": "trees (scikit-learn, OpenMP)"}
BY_DEFAULT = tuple(f"--env={name}=" for name in THREADS)
"""What the user sets, the plan leaves alone; what is empty, libraries take for not set."""
CLIENTS = 2
WARM_UP = 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round."""

    per_second: float
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""


async def ask(url: str, seconds: float) -> Round:
    """Let clients ask for predictions for so many seconds.

    Raises:
        BenchFailed: an answer was an error.
    """
    took: list[float] = []
    async with aiohttp.ClientSession() as session:

        async def client(until: float, into: list[float]) -> None:
            while (began := time.perf_counter()) < until:
                async with session.post(url, json=[]) as answer:
                    text = await answer.text()
                    if answer.status != 200:  # noqa: PLR2004 - HTTP's
                        raise BenchFailed(f"{url} answers {answer.status}: {text}")
                into.append(time.perf_counter() - began)

        for length, into in ((WARM_UP, []), (seconds, took)):
            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(client(began + length, into))
            lasted = time.perf_counter() - began
    took.sort()
    p50, p99 = (took[math.ceil(share * len(took)) - 1] * 1000 for share in (0.5, 0.99))
    return Round(len(took) / lasted, p50, p99)


def median(rounds: Sequence[Round]) -> Round:
    """Return the medians of rounds."""
    return Round(
        statistics.median(each.per_second for each in rounds),
        statistics.median(each.p50 for each in rounds),
        statistics.median(each.p99 for each in rounds),
    )


async def threads_of(url: str) -> int:
    """Return the threads that a model's libraries start."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/raw/threads") as answer:
        answer.raise_for_status()
        return int(await answer.json())


def row(model: str, cpu: str, threads: Sequence[int], default: Round, planned: Round) -> str:
    """Return a line of the table."""
    gain = planned.per_second / default.per_second
    return (
        f"| {MODELS[model]} | {cpu} | {threads[0]} / {threads[1]} "
        f"| {default.per_second:.1f} / {planned.per_second:.1f} | {gain:.1f} "
        f"| {default.p50:.0f} / {planned.p50:.0f} | {default.p99:.0f} / {planned.p99:.0f} |\n"
    )


def measure(options: argparse.Namespace, scratch: Path) -> None:
    """Print the table of docs/hardware.md."""
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(oci_registry(scratch / "registry"))
        stack.callback(find_engine_cli(cache_directory()).forget, registry)
        reference = f"{registry}/threads:1"
        pack(Path(__file__).parent / "mixed", reference)
        url = stack.enter_context(longshore_up(scratch))
        rows = [
            compare(url, model, cpu, reference, options)
            for cpu in options.cpu
            for model in options.model
        ]
    sys.stdout.write(
        "\nBy default / as planned:\n\n"
        "| model | CPU limit | threads | requests/s | times | p50, ms | p99, ms |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n" + "".join(rows)
    )


def compare(url: str, model: str, cpu: str, reference: str, options: argparse.Namespace) -> str:
    """Measure a model under a limit, with threads by default and as planned in turn."""
    urls: list[str] = []
    rounds: tuple[list[Round], list[Round]] = ([], [])
    for way, environment in (("default", BY_DEFAULT), ("planned", ())):
        version = f"{cpu}-{way}"
        wishes = (f"--cpu={cpu}", f"--env=MODEL={model}", *environment)
        longshore("register", model, version, reference, *wishes, url=url)
        urls.append(f"{url}/v1/models/{model}/versions/{version}")
    for _ in range(options.rounds):
        for each, into in zip(urls, rounds, strict=True):
            into.append(asyncio.run(ask(f"{each}/predict", options.seconds)))
    threads = [asyncio.run(threads_of(each)) for each in urls]
    return row(model, cpu, threads, *map(median, rounds))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.threads",
        description="Measure a CPU model under a CPU limit: threads by default, and as planned.",
    )
    parser.add_argument(
        "--cpu", nargs="+", default=["1"], metavar="CORES", help="limits; default 1"
    )
    parser.add_argument(
        "--model", nargs="+", default=[*MODELS], choices=MODELS, help="measure these alone"
    )
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many; default 5")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round; default 5")
    options = parser.parse_args(arguments)
    end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="longshore-bench-") as scratch:
            measure(options, Path(scratch))
    except KeyboardInterrupt:
        return 130
    except (PartMissing, PlatformFailed, BenchFailed) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
