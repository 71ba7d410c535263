"""Load and disorder at once: no request is lost, doubled or answered wrongly.

``make chaos`` runs it for 20 minutes, and writes docs/reliability.md; LONGSHORE_CHAOS tells for how
many seconds, LONGSHORE_CHAOS_SEED repeats a run, CHAOS_BACKEND=kubernetes has it on a cluster.
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chaos.disorder import PACE, PLACE, SEED, Disorder
from chaos.verdict import judge, write
from parts.steady_load import Ledger, steady_load

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

SECONDS = float(os.environ.get("LONGSHORE_CHAOS", "60"))
WORK = 0.05
"""Seconds that the model takes for a request."""

pytestmark = [
    pytest.mark.kubernetes if PLACE == "kubernetes" else pytest.mark.engine,
    pytest.mark.timeout(SECONDS + 240),
]


def test_no_request_is_lost_doubled_or_wrong(disorder: Disorder) -> None:
    platform = disorder.platform
    with Ledger() as ledger:
        model = ["--env", ledger.option, "--env", f"WORK={WORK}"]
        platform.options = options = [*model, *disorder.options]
        said = platform.client("register", "behave", "1", platform.image, *options)
        assert "is ready" in said, said
        with steady_load(platform.router.url, ledger, pace=disorder.rate) as load:
            disorder.run(SECONDS)
            time.sleep(5)
    verdict = judge(load, disorder.kills)
    told = "\n".join(
        [
            verdict.told(),
            f"sent {load.latest:.2f} s late at most",
            str(dict(disorder.counts)),
            f"LONGSHORE_CHAOS_SEED={SEED}",
        ]
    )
    print(told)
    if os.environ.get("LONGSHORE_CHAOS_PAGE"):
        where = "" if PLACE == "engine" else f"CHAOS_BACKEND={PLACE} "
        run = {
            "command": f"{where}LONGSHORE_CHAOS={SECONDS:.0f} make chaos",
            "date": datetime.now(UTC).date().isoformat(),
            "length": f"{SECONDS:.0f} s, {PACE} to {PACE * 3} requests a second",
            "sent": f"{verdict.sent / SECONDS:.0f} a second, none later than {load.latest:.1f} s",
            "seed": str(SEED),
        }
        write(PAGE, PLACE, verdict, disorder.counts, run)
    assert verdict.sent > SECONDS * PACE * 0.9, "the client itself was too slow"
    assert not verdict.lost, told
    assert not verdict.doubled, told
    assert not verdict.wrong, told
    # A version that is killed again and again refuses its callers meanwhile, with the reason.
    assert verdict.well > verdict.sent * 0.8, told
