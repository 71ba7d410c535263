"""What a wake costs, phase by phase: ``python -m bench.wakes NAME:VERSION --body JSON``.

Puts a version of a running platform to sleep and asks it for a prediction, again and again, and
reads from the wake ledger how long each phase took. Longshore's own are ``before``, from the
request's arrival until the backend was asked to start a container, and ``after``, from readiness
until the answer's first byte; together they are the ``overhead``. In between, ``start`` is the
backend's time until a container ran, and ``ready`` the model's until it answered its health check.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

POLL = 0.1
PATIENCE = 120.0


def call(url: str, body: bytes | None = None, method: str | None = None) -> Any:
    """Ask the platform, and return the JSON of its answer.

    Raises:
        SystemExit: it answers with an error, or not at all; says what it said.
    """
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - the user's own
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - the same
            content = answer.read()
    except urllib.error.HTTPError as error:
        said = error.read(500).decode(errors="replace")
        raise SystemExit(f"{url} answered {error.code}: {said}") from error
    except urllib.error.URLError as error:
        raise SystemExit(f"{url} cannot be reached: {error.reason}") from error
    try:
        return json.loads(content)
    except ValueError:
        return content


def until(condition: Any) -> None:
    """Wait until a condition is true.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come to pass in time")
        time.sleep(POLL)


def asleep(status: dict[str, Any]) -> bool:
    """Return whether nothing of a version runs."""
    return status["state"] == "asleep" and not status["replicas"]


def one_wake(
    url: str, name: str, version: str, body: bytes, asleep_command: str = ""
) -> dict[str, float]:
    """Let a version sleep and wake once; return the seconds of its phases.

    Args:
        url: the platform's.
        name: the model's.
        version: which of its versions.
        body: what it is asked.
        asleep_command: a shell command that is run while it sleeps.
    """
    about = f"{url}/api/models/{name}/versions/{version}"
    call(f"{about}/sleep", b"", "POST")
    until(lambda: asleep(call(about)["status"]))
    if asleep_command:
        subprocess.run(asleep_command, shell=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S602 - the user's own
    time.sleep(1)
    began = time.monotonic()
    call(f"{url}/v1/models/{name}/versions/{version}/predict", body)
    took = time.monotonic() - began
    until(lambda: call(f"{about}/wakes")["wakes"][-1]["first_byte_at"])
    wake = call(f"{about}/wakes")["wakes"][-1]
    at = {
        key: datetime.fromisoformat(wake[key]) for key in wake if key.endswith("_at") and wake[key]
    }

    def between(first: str, second: str) -> float:
        return (at[second] - at[first]).total_seconds()

    before, after = between("asked_at", "applied_at"), between("ready_at", "first_byte_at")
    return {
        "before": before,
        "start": between("applied_at", "started_at"),
        "ready": between("started_at", "ready_at"),
        "after": after,
        "overhead": before + after,
        "in all": took,
    }


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", metavar="NAME:VERSION")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--body", required=True, help="JSON that the version is asked")
    parser.add_argument(
        "--between",
        default="",
        metavar="COMMAND",
        help="for the shell, run each time while the version sleeps, say to remove its image",
    )
    given = parser.parse_args()
    name, _, version = given.version.partition(":")
    body = given.body.encode()
    wakes = [one_wake(given.url, name, version, body, given.between) for _ in range(given.times)]
    for phase in wakes[0]:
        values = sorted(each[phase] for each in wakes)
        sys.stdout.write(
            f"{phase:9} median {1000 * statistics.median(values):7.0f} ms, "
            f"longest {1000 * values[-1]:7.0f} ms\n"
        )


if __name__ == "__main__":
    main()
