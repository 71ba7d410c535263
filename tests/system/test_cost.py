"""What Longshore costs when nobody calls; the bounds are those that users are promised."""

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cli import EngineCli
from examples_of import version
from parts.platform import Up, until
from parts.processes import resident

from longshore.core.types import Wish
from longshore.plugins.sql_registry.registry import SqlRegistry

MIB = 2**20


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def at_rest(tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    """A platform with the defaults of users, its interval included."""
    up = Up(tmp_path, engine_cli, environment={"LONGSHORE_INTERVAL": "5"})
    try:
        yield up
    finally:
        up.clean_up()


@pytest.mark.engine
def test_ten_versions_at_rest_cost_little(at_rest: Up, behave: str) -> None:
    at_rest.start()
    for number in range(10):
        at_rest.run("register", "behave", str(number), behave, "--no-wait")
    assert until(
        lambda: (
            {
                each["status"]["state"]
                for each in at_rest.get("/api/models/behave").json()["versions"]
            }
            == {"ready"}
        ),
        90,
    ), at_rest.log.read_text()
    assert at_rest.process
    process = at_rest.process.pid
    time.sleep(3)
    before, begun = cpu_seconds(process), time.monotonic()
    time.sleep(10)
    share = (cpu_seconds(process) - before) / (time.monotonic() - begun)
    print(f"\nresident {resident(process) / MIB:.0f} MiB, {share:.2%} of a core")
    assert resident(process) < 150 * MIB
    assert share < 0.02


def work(server: int) -> float:
    """Return the seconds of processor time that the server and our ended children had so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_seconds(server) + children.ru_utime + children.ru_stime


async def fill(up: Up) -> None:
    """Register a thousand versions that sleep."""
    registry = SqlRegistry(f"sqlite:///{up.state / 'longshore.sqlite'}")
    await registry.open()
    for number in range(1000):
        each = version(f"model-{number % 100}", str(number // 100))
        await registry.add_version(each, [])
        await registry.set_wish(each.key, Wish.SLEEP, "test")
    await registry.close()


@pytest.mark.engine
def test_a_thousand_sleeping_versions_cost_little(at_rest: Up) -> None:
    """The first pass has written what it found by the time that is measured."""
    at_rest.start()
    assert at_rest.process
    time.sleep(10)
    empty = resident(at_rest.process.pid)
    at_rest.stop()
    asyncio.run(fill(at_rest))
    at_rest.start()
    process = at_rest.process.pid
    time.sleep(15)
    # Others who work on the machine make all of it slower; one quiet half minute will do.
    for _ in range(3):
        before, begun = cpu_seconds(process), time.monotonic()
        time.sleep(30)
        share = (cpu_seconds(process) - before) / (time.monotonic() - begun)
        if share < 0.02:
            break
    grew = resident(process) - empty
    print(f"\n{grew / MIB:.0f} MiB more than none, {share:.2%} of a core")
    assert grew < 100 * MIB
    assert share < 0.02


@pytest.mark.engine
def test_a_thousand_versions_are_listed_and_converged_quickly(at_rest: Up) -> None:
    at_rest.state.mkdir()
    asyncio.run(fill(at_rest))
    at_rest.start()
    assert at_rest.process
    taken, worked = [], []
    for _ in range(3):
        begun, before = time.monotonic(), work(at_rest.process.pid)
        listed = at_rest.run("models")
        taken.append(time.monotonic() - begun)
        worked.append(work(at_rest.process.pid) - before)
    assert listed.stdout.count("model-") >= 1000
    before = cpu_seconds(at_rest.process.pid)
    time.sleep(15)
    # Three passes or four, each at its interval of 5 s.
    each_pass = (cpu_seconds(at_rest.process.pid) - before) / 3
    print(f"\nmodels {min(taken):.2f} s, at most {each_pass:.2f} s of CPU a pass")
    # Where nothing else works on the machine, it is what the command takes.
    assert min(worked) < 1
    assert each_pass < 2
