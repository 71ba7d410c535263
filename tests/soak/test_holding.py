"""Ten thousand requests at once to a version that sleeps, with the router in its own process."""

import asyncio
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parts.crewed import Caller
from parts.programs import Program, program

HERE = Path(__file__).parent
MIB = 2**20
CALLERS, HELD = 10_000, 8_000
CONCURRENCY = 10_000
"""So that all of them are let go to the replica at once."""
BODY = b"x" * 1000


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CALLERS + 1000:
        pytest.skip(f"no process may open more than {hard} files here: ulimit -Hn 20000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def until(router: Program, condition: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """Return what the router counts as soon as that fulfils a condition, or after a minute."""
    deadline = time.monotonic() + 60
    while True:
        counts = await asyncio.to_thread(router.census)
        if condition(counts) or time.monotonic() > deadline:
            return counts
        await asyncio.sleep(0.2)


async def one_round(router: Program) -> dict[str, int]:
    """Let all ask a version that sleeps, wake it, and return what the router has afterwards."""
    router.census("sleep")
    callers = [Caller(router.port) for _ in range(CALLERS)]
    for start in range(0, CALLERS, 100):
        await asyncio.gather(*(each.connect() for each in callers[start : start + 100]))
    asking = [asyncio.create_task(each.ask(body=BODY)) for each in callers]

    def refused() -> list[Caller]:
        return [each for each in callers if each.statuses[503]]

    counts = await until(router, lambda counts: counts["held"] + len(refused()) == CALLERS)
    assert counts["held"] == HELD
    assert counts["bytes"] > HELD * len(BODY)
    assert all(b"retry-after: " in each.head for each in refused())
    # Those beyond the bound on held requests; connections are bounded, too, with a second.
    assert any(re.search(rb"retry-after: [123]\d\r\n", each.head) for each in refused())
    await asyncio.to_thread(router.census, "wake")
    async with asyncio.timeout(60):
        await asyncio.gather(*asking)
    statuses: Counter[int] = Counter()
    for each in callers:
        statuses += each.statuses
        each.close()
    assert statuses == {200: HELD, 503: CALLERS - HELD}
    counts = await until(router, lambda counts: counts["files"] < CALLERS / 10)
    assert (counts["held"], counts["bytes"]) == (0, 0)
    return counts


@pytest.mark.timeout(170)
@pytest.mark.usefixtures("many_files")
async def test_all_are_answered_or_refused_and_memory_returns(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    command = str(HERE / "holding_router.py")
    with (
        program(tmp_path / "backend.log", str(HERE / "backend.py")) as backend,
        program(log, command, str(backend.port), str(CONCURRENCY), str(HELD)) as router,
    ):
        before = router.census()
        first = await one_round(router)
        second = await one_round(router)
        print(f"\n{before} became {first}, then {second}")
    assert log.read_text() == ""
    assert first["resident"] - before["resident"] < 200 * MIB
    assert second["resident"] - first["resident"] < 24 * MIB
    assert second["objects"] - first["objects"] < 2_000
