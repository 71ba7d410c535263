"""``make demo``: a really trained model, from its training to its predictions through Longshore.

Packs the digits example, pushes it to a registry of its own, starts ``longshore up``, registers the
model, sends 100 samples that it has never seen, compares the accuracy with the one computed without
Longshore, and cleans up. Ctrl-C at any point cleans up too.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

EXAMPLES = Path(__file__).parent
sys.path.insert(0, str(EXAMPLES / "parts"))

from base_image import cache_directory  # noqa: E402 - needs the path
from engine_cli import PartMissing  # noqa: E402
from oci_registry import oci_registry  # noqa: E402
from pack import fetch_packages, pack, train  # noqa: E402

SAMPLES = 100
LONGSHORE = Path(sys.executable).with_name("longshore")

STARTS_WITHIN = 60.0
"""Seconds that ``longshore up`` may take to answer."""

STOPS_WITHIN = 60.0
"""Seconds that it may take to stop its containers and itself."""


class DemoFailed(Exception):
    """Something that the demo stands on did not work."""


@dataclass(frozen=True)
class Outcome:
    """What came back for the samples."""

    right: int
    without_longshore: int
    milliseconds: Sequence[float]


def demo(scratch: Path) -> Outcome:
    """Do it all; everything is stopped and removed when this returns or raises."""
    example = EXAMPLES / "digits"
    with oci_registry(cache_directory() / "demo-registry") as registry:
        reference = f"{registry}/digits:1"
        pack(example, reference)
        with longshore_up(scratch) as url:
            say("Registering digits 1")
            longshore("register", "digits", "1", reference, url=url)
            model = train(example, fetch_packages(example / "requirements.txt"))
            held_out = json.loads((model / "held_out.json").read_text())
            say(f"Sending {SAMPLES} samples that the model has never seen")
            outcome = send(url, held_out)
            report(outcome, url)
            longshore("delete", "digits:1", "--yes", url=url)
    return outcome


@contextlib.contextmanager
def longshore_up(state: Path) -> Iterator[str]:
    """Run ``longshore up`` on a free port while the context is open; yield its URL."""
    say("Starting longshore up")
    log = state / "longshore.log"
    process = None
    try:
        with log.open("w") as output:
            # In a session of its own: Ctrl-C reaches the demo alone, which then stops it in order.
            process = subprocess.Popen(
                [LONGSHORE, "up", "--port", "0", "--state", state / "state"],
                stderr=output,
                cwd=state,
                start_new_session=True,
            )
        yield _url(process, log)
    finally:
        ignore_interrupts()
        say("Cleaning up")
        if process:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        say(f"longshore did not stop within {STOPS_WITHIN:g} s; containers may be left")


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that ``longshore up`` tells once it listens."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        text = log.read_text()
        _, found, rest = text.partition(" listens on ")
        if found and "\n" in rest:
            return rest.split()[0]
        if process.poll() is not None:
            raise DemoFailed(f"longshore up ended with status {process.returncode}:\n{text}")
        time.sleep(0.05)
    raise DemoFailed(f"longshore up did not listen within {STARTS_WITHIN:g} s:\n{log.read_text()}")


def longshore(*arguments: str, url: str) -> None:
    """Run a command of Longshore's; its progress and errors go to the terminal."""
    command = [str(LONGSHORE), *arguments, "--url", url]
    # Ctrl-C is the demo's; it ends the command by itself.
    if subprocess.run(command, check=False, start_new_session=True).returncode:
        raise DemoFailed(f"longshore {' '.join(arguments)} failed; see above")


def send(url: str, held_out: dict[str, list[object]]) -> Outcome:
    """Send each sample as one request, and compare the answers."""
    right, milliseconds = 0, []
    path = "/v1/models/digits/versions/1/predict"
    digits = held_out["digits"][:SAMPLES]
    with httpx.Client(base_url=url, timeout=30) as http:
        for features, digit in zip(held_out["features"], digits, strict=False):
            started = time.perf_counter()
            answer = http.post(path, json=[features])
            milliseconds.append((time.perf_counter() - started) * 1000)
            if not answer.is_success:
                raise DemoFailed(f"a prediction failed: {answer.text}")
            right += answer.json()["predictions"] == [digit]
    pairs = zip(held_out["predictions"], digits, strict=False)
    return Outcome(right, sum(mine == truth for mine, truth in pairs), sorted(milliseconds))


def report(outcome: Outcome, url: str) -> None:
    """Print what was found, and where to look next."""

    def at(share: float) -> float:
        return outcome.milliseconds[math.ceil(share * len(outcome.milliseconds)) - 1]

    same = outcome.right == outcome.without_longshore
    verdict = bold("the same") if same else bold("NOT the same: this is a defect")
    print(
        f"\n  accuracy through Longshore  {outcome.right} of {SAMPLES}"
        f"\n  accuracy without it         {outcome.without_longshore} of {SAMPLES}, {verdict}"
        f"\n  latency                     p50 {at(0.5):.1f} ms, p95 {at(0.95):.1f} ms, "
        f"max {at(1):.1f} ms, one request at a time\n"
        f"\nNext: your own image in five minutes, in README.md; {bold('longshore up')} shows a web "
        "page\nand its API, as this one did at"
        f" {url}/docs.\n",
        flush=True,
    )


def ignore_interrupts() -> None:
    """Let no further Ctrl-C cut the cleaning up short; each of its steps is bounded in time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def interrupt(*_: object) -> None:
    """End the demo on the first Ctrl-C or SIGTERM."""
    ignore_interrupts()
    raise KeyboardInterrupt


def say(what: str) -> None:
    """Print a step."""
    print(what, flush=True)


def bold(text: str) -> str:
    """Return the text in bold on a terminal."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[1m{text}\033[0m"


def main() -> None:
    """Run the demo; status 0 only if the accuracies are equal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="longshore-demo-") as scratch:
            outcome = demo(Path(scratch))
    except KeyboardInterrupt:
        sys.exit(130)
    except (PartMissing, DemoFailed) as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"Error: {error.cmd[0]} failed; see above.")
    say("Nothing is left of this demo but caches in " + str(cache_directory()))
    sys.exit(0 if outcome.right == outcome.without_longshore else 1)


if __name__ == "__main__":
    main()
