"""The process that inspects a node: what it tells, and when."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pluggy
import pytest
from parts import nvml_stub
from parts.cli_program import PROGRAM, environment
from parts.routed import until
from pydantic import JsonValue

from longshore.core import hookspecs
from longshore.core.errors import Unavailable
from longshore.core.hooks import Hooks
from longshore.core.hookspecs import hookimpl
from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import PluginsFile
from longshore.core.types import Confidence, Evidence, NodeReport
from longshore.hardware.node import reporting
from longshore.hardware.node.facts import FACTS
from longshore.hardware.node.reporting import NodeReporter

LONG = 3600.0


class Told:
    """Keeps what is reported, or fails."""

    def __init__(self) -> None:
        self.reports: list[NodeReport] = []
        self.away = False

    async def __call__(self, report: NodeReport) -> None:
        if self.away:
            raise Unavailable("nobody listens")
        self.reports.append(report)


class Inspects:
    """Finds what a test says."""

    value: JsonValue = None

    @hookimpl
    def longshore_profile_node(self) -> Mapping[str, Evidence]:
        exact = Confidence.EXACT
        return {"gpus": Evidence(value=self.value, source="a test", confidence=exact)}


@pytest.fixture
def finds() -> Inspects:
    return Inspects()


@pytest.fixture
def hooks(finds: Inspects) -> Hooks:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(finds, name="finds")
    return Hooks(manager)


async def test_it_tells_what_is_read_here_and_not_what_it_may_use_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path))
    told = Told()
    await NodeReporter(build_plugins(PluginsFile()).hooks, told, LONG).once()
    [report] = told.reports
    assert report.lasts == 3 * LONG
    assert set(FACTS) - set(report.facts) == {
        *("cpuset", "cpu_quota_millicores", "cpu_limit_millicores", "memory_limit_mib", "labels")
    }
    assert report.facts["driver"].value == "580.65.06"
    gpus = report.facts["gpus"]
    assert isinstance(gpus.value, list)
    assert (len(gpus.value), gpus.confidence) == (2, Confidence.EXACT)
    assert report.facts["cpu_flags"].source.startswith("/proc/cpuinfo")


async def test_it_tells_at_changes_and_else_when_it_is_time(finds: Inspects, hooks: Hooks) -> None:
    told = Told()
    own = NodeReporter(hooks, told, LONG)
    for _ in range(3):
        await own.once()
    assert len(told.reports) == 1
    finds.value = ["a GPU"]
    for _ in range(3):
        await own.once()
    assert [each.facts["gpus"].value for each in told.reports] == [None, ["a GPU"]]
    often = NodeReporter(hooks, told, 0)
    for _ in range(3):
        await often.once()
    assert len(told.reports) == 5


async def test_memory_that_is_used_and_let_go_is_no_news(finds: Inspects, hooks: Hooks) -> None:
    told = Told()
    own = NodeReporter(hooks, told, LONG)
    for free in (1000, 500, 0):
        slices: JsonValue = [{"uuid": "x", "memory_free_mib": free}]
        finds.value = [{"memory_free_mib": free, "mig": {"instances": slices}}]
        await own.once()
    [report] = told.reports
    # It is told all the same.
    assert "'memory_free_mib': 1000" in str(report.facts["gpus"].value)


async def test_what_could_not_be_told_is_told_later(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporting, "LOOK_EVERY", 0.01)
    told = Told()
    told.away = True
    running = asyncio.create_task(NodeReporter(hooks, told, LONG).run())
    assert await until(lambda: "could not be told: nobody listens" in caplog.text, 60)
    told.away = False
    assert await until(lambda: bool(told.reports), 60)
    running.cancel()


def test_a_backend_that_takes_no_reports_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "node", "here"],
        cwd=tmp_path,
        env=environment("http://127.0.0.1:9", LONGSHORE_BACKEND="engine"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "the backend engine takes no reports of nodes" in done.stderr
    assert "LONGSHORE_BACKEND=kubernetes" in done.stderr


def test_without_a_cluster_it_says_so_and_ends(tmp_path: Path) -> None:
    variables = {"LONGSHORE_BACKEND": "kubernetes", "HOME": str(tmp_path), "KUBECONFIG": ""}
    done = subprocess.run(
        [PROGRAM, "node", "here"],
        cwd=tmp_path,
        env=environment("http://127.0.0.1:9", **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "the pod's service account leads to no cluster" in done.stderr
