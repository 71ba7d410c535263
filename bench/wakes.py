"""What a wake costs beside the container's own start: ``python -m bench.wakes NAME:VERSION``.

Puts a version of a running platform to sleep and asks it for a prediction, again and again, and
reads from the wake ledger how long Longshore itself took: from the request's arrival until the
backend was asked to start a container, and from readiness until the answer's first byte.
"""

import argparse
import json
import statistics
import sys
import time
import urllib.request
from datetime import datetime
from typing import Any

POLL = 0.1
PATIENCE = 120.0


def call(url: str, body: bytes | None = None, method: str | None = None) -> Any:
    """Ask the platform, and return the JSON of its answer."""
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - the user's own
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - the same
        content = answer.read()
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


def one_wake(url: str, name: str, version: str) -> dict[str, float]:
    """Let a version sleep and wake once; return the seconds of its phases."""
    about = f"{url}/api/models/{name}/versions/{version}"
    call(f"{about}/sleep", b"", "POST")
    until(
        lambda: call(about)["status"]["state"] == "asleep" and not call(about)["status"]["replicas"]
    )
    time.sleep(1)
    began = time.monotonic()
    call(f"{url}/v1/models/{name}/versions/{version}/predict", b"[1]")
    took = time.monotonic() - began
    until(lambda: call(f"{about}/wakes")["wakes"][-1]["first_byte_at"])
    wake = call(f"{about}/wakes")["wakes"][-1]
    at = {
        key: datetime.fromisoformat(wake[key]) for key in wake if key.endswith("_at") and wake[key]
    }
    before = (at["applied_at"] - at["asked_at"]).total_seconds()
    after = (at["first_byte_at"] - at["ready_at"]).total_seconds()
    return {"before": before, "after": after, "overhead": before + after, "in all": took}


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", metavar="NAME:VERSION")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    name, _, version = given.version.partition(":")
    wakes = [one_wake(given.url, name, version) for _ in range(given.times)]
    for phase in wakes[0]:
        values = sorted(each[phase] for each in wakes)
        sys.stdout.write(
            f"{phase:9} median {1000 * statistics.median(values):7.0f} ms, "
            f"longest {1000 * values[-1]:7.0f} ms\n"
        )


if __name__ == "__main__":
    main()
