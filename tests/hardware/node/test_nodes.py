"""The plugin: this machine is read, others are known by their labels, and nothing is made up."""

import asyncio
import os
from pathlib import Path

import pytest
from parts import nvml_stub

from longshore.core import machine
from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import PluginsFile
from longshore.core.types import Confidence, Evidence, Node
from longshore.hardware.node.facts import FACTS
from longshore.hardware.node.labels import label_facts
from longshore.hardware.node.plugin import Plugin
from longshore.hardware.node.settings import NodesSettings

DISCOVERED = {
    "kubernetes.io/hostname": "gpu-1",
    "nvidia.com/gpu.count": "2",
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.compute.major": "9",
    "nvidia.com/gpu.compute.minor": "0",
    "nvidia.com/cuda.driver-version.full": "580.65.06",
    "nvidia.com/cuda.runtime-version.full": "13.0",
    "feature.node.kubernetes.io/cpu-cpuid.AVX2": "true",
    "feature.node.kubernetes.io/cpu-cpuid.AVX": "true",
    "feature.node.kubernetes.io/cpu-cpuid.FMA3": "true",
    "feature.node.kubernetes.io/cpu-cpuid.AMXTILE": "true",
    "feature.node.kubernetes.io/cpu-cpuid.AVX512F": "false",
    "feature.node.kubernetes.io/cpu-model.vendor_id": "Intel",
    "feature.node.kubernetes.io/cpu-model.family": "6",
    "feature.node.kubernetes.io/cpu-model.id": "143",
}


def this_node(**changed: object) -> Node:
    return machine.this_node().model_copy(update=changed)


def other_node(**labels: str) -> Node:
    return Node(
        name="gpu-1", architecture="arm64", cpu_millicores=1000, memory_mib=4096, labels=labels
    )


async def profile(node: Node, settings: NodesSettings | None = None) -> dict[str, Evidence]:
    return dict(await Plugin(settings).longshore_profile_node(node))


async def test_every_profile_has_every_fact_or_why_not(tmp_path: Path) -> None:
    nowhere = NodesSettings(sys=tmp_path, proc=tmp_path, cgroup=tmp_path)
    for node in (this_node(), other_node(), other_node(**DISCOVERED)):
        for settings in (None, nowhere):
            facts = await profile(node, settings)
            assert set(facts) == set(FACTS)
            for each in facts.values():
                assert each.source
                # What is unknown has no value; what is known may have none, as "no limit" is one.
                assert each.confidence is not Confidence.UNKNOWN or each.value is None


async def test_this_machine_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path))
    plugins = build_plugins(PluginsFile())
    (answer,), failures = await plugins.hooks.every("longshore_profile_node", node=this_node())
    assert not failures
    assert answer.plugin == "nodes"
    assert answer.value["nvml_status"].value == "ok"
    assert len(answer.value["gpus"].value) == 2
    assert answer.value["memory_mib"].source == "/proc/meminfo: MemTotal"
    assert answer.value["cpu_logical"].value == os.cpu_count()


async def test_another_machine_is_not_taken_for_this_one(tmp_path: Path) -> None:
    for node in (this_node(name="another"), this_node(memory_mib=64)):
        facts = await profile(node)
        assert facts["nvml_status"].confidence is Confidence.UNKNOWN
        assert facts["gpus"].source.startswith("the node was not inspected")
        assert facts["memory_mib"].value == node.memory_mib
    named = await profile(this_node(name="another"), NodesSettings(this_node="another"))
    assert named["nvml_status"].confidence is Confidence.EXACT


async def test_what_cannot_be_read_here_is_taken_from_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path), fail="nvmlInitWithFlags=999")
    facts = await profile(this_node(labels=DISCOVERED))
    assert facts["nvml_status"].value == "error"
    assert facts["driver"].confidence is Confidence.DECLARED
    assert facts["driver"].value == "580.65.06"
    assert facts["gpus"].confidence is Confidence.DECLARED
    assert facts["cpu_flags"].confidence is Confidence.EXACT


async def test_what_was_just_read_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path / "stub"), log=str(log))
    plugin = Plugin(NodesSettings(fresh=600))
    for _ in range(3):
        facts = await plugin.longshore_profile_node(this_node())
        assert facts["nvml_status"].value == "ok"
    assert log.read_text().split().count("nvmlInitWithFlags") == 1


async def test_what_was_read_a_while_ago_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = nvml_stub.build(tmp_path / "stub")
    nvml_stub.use(monkeypatch, stub, count="1")
    plugin = Plugin(NodesSettings(fresh=0))
    facts = await plugin.longshore_profile_node(this_node())
    nvml_stub.use(monkeypatch, stub, count="0")
    deadline = asyncio.get_running_loop().time() + 120
    while facts["nvml_status"].value != "no_devices":
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)
        facts = await plugin.longshore_profile_node(this_node())


async def test_a_driver_that_hangs_is_not_asked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    stub = nvml_stub.build(tmp_path / "stub")
    nvml_stub.use(monkeypatch, stub, log=str(log), hang="nvmlInitWithFlags")
    plugin = Plugin(NodesSettings(fresh=0, driver_seconds=8))
    for _ in range(3):
        facts = await plugin.longshore_profile_node(this_node())
        assert facts["nvml_status"].value == "error"
        assert facts["cpu_logical"].value == os.cpu_count()
    assert log.read_text().split() == ["nvmlInitWithFlags"]


async def test_all_that_ask_at_once_wait_for_one_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path / "stub"), log=str(log))
    plugin = Plugin(NodesSettings(fresh=0))
    asked = [plugin.longshore_profile_node(this_node()) for _ in range(8)]
    first, *others = await asyncio.gather(*asked)
    assert all(each == first for each in others)
    assert log.read_text().split().count("nvmlInitWithFlags") == 1


def test_labels_of_discovery() -> None:
    facts = label_facts(other_node(**DISCOVERED))
    gpus = facts["gpus"]
    assert gpus.confidence is Confidence.DECLARED
    assert isinstance(gpus.value, list)
    assert len(gpus.value) == 2
    first = gpus.value[0]
    assert isinstance(first, dict)
    assert first["name"] == "NVIDIA-H100-80GB-HBM3"
    assert first["memory_total_mib"] == 81559
    assert first["compute_capability"] == "9.0"
    # Labels do not tell what is free, and so nobody does.
    assert first["memory_free_mib"] is None
    assert isinstance(first["unread"], dict)
    assert first["unread"]["memory_free_mib"] == "the node's labels do not tell"
    assert facts["driver"].value == "580.65.06"
    assert facts["cuda"].value == "13.0"
    assert facts["cpu_flags"].value == ["amx_tile", "avx", "avx2", "fma"]
    assert (facts["cpu_level"].value, facts["cpu_level"].confidence) == (
        "v3",
        Confidence.INFERRED,
    )
    assert facts["cpu_model"].value == "Intel family 6 model 143"
    labels = facts["labels"].value
    assert isinstance(labels, dict)
    assert set(labels) == set(DISCOVERED) - {"kubernetes.io/hostname"}


def test_labels_of_older_discovery() -> None:
    older = {
        "nvidia.com/cuda.driver.major": "535",
        "nvidia.com/cuda.driver.minor": "104",
        "nvidia.com/cuda.driver.rev": "05",
        "nvidia.com/cuda.runtime.major": "12",
        "nvidia.com/cuda.runtime.minor": "2",
    }
    facts = label_facts(other_node(**older))
    assert (facts["driver"].value, facts["cuda"].value) == ("535.104.05", "12.2")


@pytest.mark.parametrize("count", ["", "two", "-1", "999999", "99999999999999"])
def test_labels_that_make_no_sense_tell_nothing(count: str) -> None:
    facts = label_facts(other_node(**{"nvidia.com/gpu.count": count}))
    assert "gpus" not in facts


def test_no_gpu_by_label_is_none() -> None:
    assert label_facts(other_node(**{"nvidia.com/gpu.count": "0"}))["gpus"].value == []
