"""Load and disorder at once: no request is lost, doubled or answered wrongly.

``make chaos`` runs it for 20 minutes, and writes docs/reliability.md; LONGSHORE_CHAOS tells for how
many seconds, LONGSHORE_CHAOS_SEED repeats a run.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chaos.disorder import Disorder, Platform, Program
from chaos.verdict import judge, write
from engine_cli import EngineCli
from parts.postgres import Postgres
from parts.steady_load import Ledger, steady_load

from longshore.plugins.sql_registry.registry import SqlRegistry

LONGSHORE = str(Path(sys.executable).with_name("longshore"))
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

SECONDS = float(os.environ.get("LONGSHORE_CHAOS", "60"))
SEED = int(os.environ.get("LONGSHORE_CHAOS_SEED", time.time_ns() % 1_000_000))
WORK = 0.05
"""Seconds that the model takes for a request."""
PACE = 50

pytestmark = [pytest.mark.engine, pytest.mark.timeout(SECONDS + 240)]


@pytest.fixture
def service(engine_cli: EngineCli, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Podman's service with a socket of its own, which can be made to stand still."""
    if engine_cli.program != "podman":
        pytest.skip("only Podman's service can be stopped without stopping others' containers")
    command = ["podman", "system", "service", "--time=0", f"unix://{tmp_path / 'podman.sock'}"]
    with subprocess.Popen(command, env={**os.environ, **engine_cli.environment}) as process:
        yield process
        process.terminate()


@pytest.fixture
async def platform(
    engine_cli: EngineCli,
    behave: str,
    postgres: Postgres,
    service: "subprocess.Popen[bytes]",
    tmp_path: Path,
) -> AsyncIterator[Platform]:
    database = postgres.new_database()
    config = tmp_path / "plugins.toml"
    socket = tmp_path / "podman.sock"
    config.write_text(f'[[plugin]]\nname = "engine"\nsettings = {{ socket = "{socket}" }}\n')
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("LONGSHORE")},
        "LONGSHORE_DATABASE": database,
        "LONGSHORE_INTERVAL": "1",
    }

    def program(command: str, place: str) -> Program:
        words = [LONGSHORE, command, "--config", str(config), "--port", "0"]
        return Program(words, tmp_path / place, environment)

    programs = [program("controller", "a"), program("controller", "b"), program("router", "r")]
    *controllers, router = programs

    def client(*arguments: str) -> str:
        """Run a command as a user does, again where no controller is there to take it."""
        deadline = time.monotonic() + 90
        while True:
            done = subprocess.run(
                [LONGSHORE, *arguments],
                env={**os.environ, "LONGSHORE_URL": router.url},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            if not done.returncode:
                return done.stdout
            assert time.monotonic() < deadline, f"{arguments}: {done.stdout}{done.stderr}"
            time.sleep(0.5)

    try:
        for each in programs:
            each.start()
        registry = SqlRegistry(database)
        owner = await registry.installation()
        await registry.close()
        yield Platform(controllers, router, engine_cli, owner, service, behave, [], client)
    finally:
        for each in reversed(programs):
            each.stop()
        label = f"label=io.longshore.owner={owner}"
        for container in engine_cli.run("ps", "--all", "--quiet", "--filter", label).split():
            engine_cli.run("rm", "--force", "--time", "0", container)


def test_no_request_is_lost_doubled_or_wrong(platform: Platform) -> None:
    print(f"LONGSHORE_CHAOS_SEED={SEED}")
    with Ledger() as ledger:
        options = ["--env", ledger.option, "--env", f"WORK={WORK}", "--max", "3", "--target", "4"]
        platform.options = options
        said = platform.client("register", "behave", "1", platform.image, *options)
        assert "is ready" in said, said
        disorder = Disorder(platform, random.Random(SEED), PACE)  # noqa: S311 - no secret
        with steady_load(platform.router.url, ledger, pace=disorder.rate) as load:
            disorder.run(SECONDS)
            time.sleep(5)
    verdict = judge(load, disorder.kills)
    told = f"{verdict.told()}\n{dict(disorder.counts)}\nLONGSHORE_CHAOS_SEED={SEED}"
    print(told)
    if os.environ.get("LONGSHORE_CHAOS_PAGE"):
        run = {
            "command": f"LONGSHORE_CHAOS={SECONDS:.0f} make chaos",
            "date": datetime.now(UTC).date().isoformat(),
            "length": f"{SECONDS:.0f} s, {PACE} to {PACE * 3} requests a second",
            "seed": str(SEED),
        }
        write(PAGE, verdict, disorder.counts, run)
    assert verdict.sent > SECONDS * PACE * 0.5, "the client itself was too slow"
    assert not verdict.lost, told
    assert not verdict.doubled, told
    assert not verdict.wrong, told
    # A version that is killed again and again refuses its callers meanwhile, with the reason.
    assert verdict.well > verdict.sent * 0.6, told
