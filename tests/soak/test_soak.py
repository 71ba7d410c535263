"""Many requests of all kinds through a router in a process of its own, whose memory stays flat.

``make soak`` sends ten million; LONGSHORE_SOAK tells how many.
"""

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from parts.programs import Program, program

HERE = Path(__file__).parent
REQUESTS = int(os.environ.get("LONGSHORE_SOAK", "200000"))
CONNECTIONS = 32
TURN = "3s" if REQUESTS <= 1_000_000 else "60s"

pytestmark = pytest.mark.timeout(0 if REQUESTS > 1_000_000 else 170)


def load(port: int, requests: int) -> Counter[str]:
    """Send at least so many, and return how many were answered, refused, broken and late.

    Each turn ends in the middle of what is under way, as clients do.
    """
    counts: Counter[str] = Counter()
    while counts["requests"] < requests:
        done = subprocess.run(
            [
                *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{TURN}", "--timeout", "30"),
                *("-s", str(HERE / "mixture.lua"), f"http://127.0.0.1:{port}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.findall(r"(\d+) (requests|refused|broken|late)", done.stdout.splitlines()[-1])
        counts.update({kind: int(number) for number, kind in found})
    return counts


def settled(router: Program) -> dict[str, int]:
    """Return what the router holds once it has noticed that the callers are gone."""
    deadline = time.monotonic() + 10
    last = router.census()
    while time.monotonic() < deadline:
        time.sleep(0.2)
        before, last = last, router.census()
        if not last["in_flight"] and last["files"] == before["files"]:
            break
    return last


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing: apt-get install wrk")
def test_memory_stays_flat(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    with (
        program(tmp_path / "backend.log", str(HERE / "backend.py")) as backend,
        program(log, str(HERE / "router.py"), str(backend.port)) as router,
    ):
        begun = time.monotonic()
        load(router.port, REQUESTS // 5)
        early = settled(router)
        counts = load(router.port, REQUESTS - REQUESTS // 5)
        last = settled(router)
        seconds = time.monotonic() - begun
        print(f"{REQUESTS} requests in {seconds:.0f} s: {early} became {last}; {counts}")
    assert log.read_text() == ""
    answered = counts["requests"]
    assert counts["late"] == 0
    # Four of ten unusual requests, of which there is one in eighty, are refused on purpose.
    assert counts["refused"] == pytest.approx(answered * 4 / 800, rel=0.05)
    assert counts["broken"] == pytest.approx(0, abs=answered / 800)
    assert last["in_flight"] == 0
    assert last["objects"] - early["objects"] < 2_000
    assert last["files"] - early["files"] < CONNECTIONS
    assert last["resident"] - early["resident"] < 8 << 20
