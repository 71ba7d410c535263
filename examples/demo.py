"""``make demo``: a really trained model, from its training to its predictions through Longshore.

Packs the digits example, pushes it to a registry of its own, starts ``longshore up``, registers the
model, sends 100 samples that it has never seen, compares the accuracy with the one computed without
Longshore, and cleans up. Ctrl-C at any point cleans up too.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

EXAMPLES = Path(__file__).parent
sys.path.insert(0, str(EXAMPLES / "parts"))

from base_image import cache_directory  # noqa: E402 - needs the path
from engine_cli import PartMissing, find_engine_cli  # noqa: E402
from interrupts import end_on_signals  # noqa: E402
from oci_registry import oci_registry  # noqa: E402
from pack import fetch_packages, pack, train  # noqa: E402
from platform_up import PlatformFailed, bold, longshore, longshore_up, say  # noqa: E402

SAMPLES = 100


@dataclass(frozen=True)
class Outcome:
    """What came back for the samples."""

    right: int
    without_longshore: int
    same: bool
    """Each single answer is the model's own, not only the sum of the right ones."""
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
        find_engine_cli(cache_directory()).forget(registry)
    return outcome


def send(url: str, held_out: dict[str, list[object]]) -> Outcome:
    """Send each sample as one request, and compare the answers."""
    answers, milliseconds = [], []
    path = "/v1/models/digits/versions/1/predict"
    digits, own = held_out["digits"][:SAMPLES], held_out["predictions"][:SAMPLES]
    # Loopback is never reached through a proxy, whatever http_proxy says.
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        for features in held_out["features"][:SAMPLES]:
            started = time.perf_counter()
            answer = http.post(path, json=[features])
            milliseconds.append((time.perf_counter() - started) * 1000)
            if not answer.is_success:
                raise PlatformFailed(f"a prediction failed: {answer.text}")
            answers += answer.json()["predictions"]
    return Outcome(_right(answers, digits), _right(own, digits), answers == own, milliseconds)


def _right(answers: Sequence[object], digits: Sequence[object]) -> int:
    return sum(answer == digit for answer, digit in zip(answers, digits, strict=True))


def report(outcome: Outcome, url: str) -> None:
    """Print what was found, and where to look next."""

    def at(share: float) -> float:
        return sorted(outcome.milliseconds)[math.ceil(share * len(outcome.milliseconds)) - 1]

    verdict = bold("the same") if outcome.same else bold("NOT the same: this is a defect")
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


def main() -> None:
    """Run the demo; status 0 only if the accuracies are equal."""
    end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="longshore-demo-") as scratch:
            outcome = demo(Path(scratch))
    except KeyboardInterrupt:
        sys.exit(130)
    except (PartMissing, PlatformFailed) as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"Error: {error.cmd[0]} failed; see above.")
    say("Nothing is left of this demo but caches in " + str(cache_directory()))
    sys.exit(0 if outcome.same else 1)


if __name__ == "__main__":
    main()
