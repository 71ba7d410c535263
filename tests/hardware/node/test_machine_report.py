"""``longshore hardware report``: the program on this machine, with no platform."""

import json
import os
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from parts import nvml_stub
from parts.cli_program import PROGRAM, environment, terminal

from longshore.core.cli.node_facts import print_node
from longshore.core.types import Confidence, Evidence
from longshore.hardware.node.facts import FACTS

NOWHERE = "http://127.0.0.1:9"
FIRST = "GPU-00000000-0000-0000-0000-000000000000"
SECOND = "GPU-11111111-1111-1111-1111-111111111111"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, and two GPUs."""
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path / "nvml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "hardware", "report", *arguments]
    return subprocess.run(
        command,
        env=environment(NOWHERE, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.usefixtures("here")
def test_json_holds_every_fact() -> None:
    done = run("--json")
    assert (done.returncode, done.stderr) == (0, "")
    profile = json.loads(done.stdout)
    assert set(profile["facts"]) == set(FACTS)
    assert profile["node"]["name"] == os.uname().nodename
    gpus = profile["facts"]["gpus"]
    assert gpus["confidence"] == "exact"
    assert [each["memory_free_mib"] for each in gpus["value"]] == [70000, 0]


@pytest.mark.usefixtures("here")
def test_a_table_for_people_and_what_was_not_read() -> None:
    done = run(STUB_FAIL="nvmlSystemGetCudaDriverVersion_v2=3 nvmlDeviceGetMaxPcieLinkWidth=3")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for expected in (
        "FACT CONFIDENCE VALUE",
        "NVML exact ok",
        "NVIDIA driver exact 580.65.06",
        "CUDA unknown -",
        "GPUs exact 2 x NVIDIA H100 80GB HBM3",
        "GPU MEMORY FREE COMPUTE MIG NUMA CPUS PCIE NVLINK UUID",
        f"0 79.6 GiB 68.4 GiB 9.0 2 slices 0 0-15 5 x - 2 to gpu {FIRST}",
        "1g.10gb 9.6 GiB 8.8 GiB MIG-00000000-0000-0000-0000-000000000001",
        # Nothing free is a number, and not unknown.
        f"1 79.6 GiB 0 B 9.0 disabled 1 16-31,64 5 x - 2 to gpu {SECOND}",
        "BETWEEN 0 1",
        "0 - 2 NVLinks",
        "Not read",
        "CUDA: nvmlSystemGetCudaDriverVersion_v2: Not Supported",
        "PCIe width of GPU 0, PCIe width of GPU 1: nvmlDeviceGetMaxPcieLinkWidth: Not Supported",
    ):
        assert expected in lines


@pytest.mark.usefixtures("here")
def test_explain_tells_where_each_was_read() -> None:
    done = run("--explain")
    assert "NVIDIA driver: 580.65.06\n    exact, by nvmlSystemGetDriverVersion\n" in done.stdout


@pytest.mark.usefixtures("here")
def test_on_a_terminal() -> None:
    with terminal("hardware", "report", url=NOWHERE) as shown:
        assert shown.end() == 0
    assert "580.65.06" in shown.shown


def test_settings_are_those_of_plugins_toml(here: Path) -> None:
    (here / "cgroup").mkdir()
    (here / "plugins.toml").write_text(
        f'[[plugin]]\nname = "nodes"\nsettings = {{ sys = "{here}", cgroup = "{here}/cgroup" }}\n'
    )
    facts = json.loads(run("--json").stdout)["facts"]
    assert facts["numa"]["source"] == f"{here}/devices/system/node is not there"
    assert facts["cpuset"]["source"] == "sched_getaffinity, as no control group tells"
    assert facts["gpus"]["value"][0]["numa_node"] == 0
    assert facts["gpus"]["value"][0]["cpu_affinity"] == "0-15"


def test_what_other_plugins_tell_is_shown_as_it_is() -> None:
    def told(value: object, sure: Confidence = Confidence.DECLARED) -> Evidence:
        return Evidence.model_validate({"value": value, "source": "theirs", "confidence": sure})

    facts = {
        "gpus": told([{"name": "Instinct"}]),
        "numa": told("two"),
        "cpu_flags": told(7),
        "memory_limit_mib": told(None, Confidence.EXACT),
        "tpu_count": told(4),
        "cuda": told(None, Confidence.UNKNOWN),
    }

    @click.command()
    def show() -> None:
        print_node(facts, explain=False)

    done = CliRunner().invoke(show, catch_exceptions=False)
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "GPUs declared 1 x Instinct" in lines
    assert "NUMA nodes declared two" in lines
    assert "CPU features declared 7" in lines
    assert "memory limit exact none" in lines
    assert "tpu count declared 4" in lines
    assert "CUDA: theirs" in lines
