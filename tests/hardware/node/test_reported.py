"""What inspection on a node reports: believed as far as it can be, and never more."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from parts.hardware import node as profile_of
from parts.hardware import planned, verdicts
from parts.hardware import profile as image_profile

from longshore.core.gpus import gpus_of
from longshore.core.types import (
    Confidence,
    Evidence,
    KnownNode,
    Node,
    NodeProfile,
    NodeReport,
    utc_now,
)
from longshore.hardware.node.facts import FACTS
from longshore.hardware.node.nvml import Gpu
from longshore.hardware.node.plugin import Plugin

EXACT, DECLARED, UNKNOWN = Confidence.EXACT, Confidence.DECLARED, Confidence.UNKNOWN
LABELS = {
    "kubernetes.io/arch": "amd64",
    "nvidia.com/gpu.count": "2",
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.compute.major": "9",
    "nvidia.com/gpu.compute.minor": "0",
    "nvidia.com/cuda.driver-version.full": "580.65.06",
}
H100 = Gpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    memory_total_mib=81559,
    compute_capability="9.0",
    numa_node=0,
).model_dump(mode="json")
READ: Mapping[str, Any] = {
    "nvml_status": "ok",
    "driver": "580.65.06",
    "cuda": "13.0",
    "gpus": [H100, {**H100, "index": 1}],
    "nvidia_pci": [{"address": "0000:17:00.0", "device": "2330", "numa_node": None}],
    "cpu_architecture": "amd64",
    "cpu_model": "AMD EPYC",
    "cpu_level": "v4",
    "cpu_flags": ["avx2", "avx512f"],
    "cpu_physical": 32,
    "cpu_logical": 64,
    "numa": [{"node": 0, "cpus": "0-31", "memory_mib": 9000, "distances": [10, 21], "unread": {}}],
    "memory_mib": 131072,
}


def reported(
    facts: Mapping[str, Any] = READ,
    *,
    ago: float = 60,
    labels: Mapping[str, str] | None = None,
    offers: int = 2,
) -> Node:
    told = {
        name: value
        if isinstance(value, Evidence)
        else Evidence(value=value, source=f"the source of {name}", confidence=EXACT)
        for name, value in facts.items()
    }
    return Node(
        name="gpu-1",
        architecture="amd64",
        cpu_millicores=63500,
        memory_mib=120000,
        gpus=offers,
        labels=LABELS if labels is None else labels,
        report=NodeReport(facts=told, read_at=utc_now() - timedelta(seconds=ago), lasts=900),
    )


async def profile(node: Node) -> dict[str, Evidence]:
    facts = dict(await Plugin().longshore_profile_node(node))
    assert set(facts) >= set(FACTS)
    assert all(each.value is None for each in facts.values() if each.confidence is UNKNOWN)
    return facts


async def test_what_was_read_counts_before_labels_and_says_when() -> None:
    facts = await profile(reported(ago=61))
    assert {name: facts[name].value for name in READ} == READ
    assert all(facts[name].confidence is EXACT for name in READ)
    assert facts["cpu_flags"].source == "the source of cpu_flags; read on the node 1 min ago"
    assert "but" not in "".join(each.source for each in facts.values())
    # What the node gives to pods; what inspection may use itself is nobody's business.
    for name, given in (("cpu_limit_millicores", 63500), ("memory_limit_mib", 120000)):
        assert (facts[name].value, facts[name].confidence) == (given, DECLARED)
    told = facts["labels"].value
    assert isinstance(told, dict)
    assert set(told) == set(LABELS) - {"kubernetes.io/arch"}


async def test_limits_of_the_pod_are_not_told_as_the_nodes() -> None:
    pods = {"cpuset": "0", "cpu_quota_millicores": 100, "memory_limit_mib": 256}
    facts = await profile(reported({**READ, **pods, "cpu_limit_millicores": 100}))
    assert facts["memory_limit_mib"].value == 120000
    assert facts["cpu_limit_millicores"].value == 63500
    assert facts["cpuset"].confidence is facts["cpu_quota_millicores"].confidence is UNKNOWN


async def test_labels_come_from_the_node_itself() -> None:
    facts = await profile(reported({**READ, "labels": LABELS}, labels={}))
    assert facts["labels"].value == {}


async def test_what_could_not_be_read_labels_tell_and_else_the_reason_stays() -> None:
    why = Evidence(value=None, source="NVML: no library", confidence=UNKNOWN)
    unread = {**READ, "gpus": why, "driver": why, "cuda": why}
    facts = await profile(reported(unread))
    assert (facts["driver"].value, facts["driver"].confidence) == ("580.65.06", DECLARED)
    assert facts["gpus"].confidence is DECLARED
    assert facts["cuda"].source == "NVML: no library; read on the node 1 min ago"


async def test_what_is_old_says_so_and_counts_after_labels() -> None:
    facts = await profile(reported({**READ, "driver": "570.1"}, ago=3 * 3600))
    assert facts["driver"].value == "580.65.06"
    assert facts["driver"].confidence is DECLARED
    assert (
        "but it is 570.1, by the source of driver; read on the node 3 h" in facts["driver"].source
    )
    assert facts["cpu_flags"].confidence is Confidence.INFERRED
    assert facts["cpu_flags"].source.endswith("; read on the node 3 h ago, and not since")


@pytest.mark.parametrize(
    ("name", "read", "says"),
    [
        ("driver", "570.1", "but it is 580.65.06, by label nvidia.com/cuda.driver-version.full"),
        ("gpus", [H100], "but there are 2, by labels nvidia.com/gpu.count"),
        (
            "gpus",
            [{**H100, "name": "NVIDIA A10"}] * 2,
            "but name is NVIDIA-H100-80GB-HBM3, by labels",
        ),
        ("gpus", [{**H100, "memory_total_mib": 1}] * 2, "but memory_total_mib is 81559, by labels"),
        ("cpu_architecture", "arm64", "but it is amd64, by the backend"),
    ],
)
async def test_where_labels_differ_the_source_says_so(name: str, read: Any, says: str) -> None:
    fact = (await profile(reported({**READ, name: read})))[name]
    assert fact.value == read
    assert says in fact.source


async def test_labels_of_gpus_that_containers_share_do_not_differ() -> None:
    shared = {**LABELS, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED"}
    assert "but" not in (await profile(reported(labels=shared)))["gpus"].source


async def test_older_labels_that_say_less_of_a_version_do_not_differ() -> None:
    older = {"nvidia.com/cuda.driver.major": "580", "nvidia.com/cuda.driver.minor": "65"}
    assert "but" not in (await profile(reported(labels=older)))["driver"].source


HOSTILE: Mapping[str, list[Any]] = {
    "nvml_status": ["fine", None, 7],
    "driver": ["580; rm", "1" * 100, 580, ["580"], {"a": 1}],
    "gpus": [
        "many",
        [{}],
        [{**H100, "memory_total_mib": "81559"}],
        [{**H100, "memory_total_mib": 10**30}],
        [{**H100, "cpu_affinity": "0-99999999999"}],
        [{**H100, "more": 1}],
        [H100] * 65,
    ],
    "cpu_level": ["v9", 4, ""],
    "cpu_flags": ["avx", [7], ["x" * 5000], ["x"] * 2000],
    "cpu_logical": [0, -1, 10**9, 2.5, True, "64"],
    "numa": [
        [{"node": 0}],
        # What reads such a list would never end.
        [{**READ["numa"][0], "cpus": "0-99999999999"}],
        [{**READ["numa"][0], "cpus": "x"}],
        [{**READ["numa"][0], "memory_mib": float("inf")}],
    ],
    "memory_mib": [0, -5, 10**400, float("nan"), "131072"],
    "cpu_architecture": ["", "AMD64", "x" * 100],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values]
)
async def test_what_makes_no_sense_is_left_aside_and_labels_count(
    name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    node = reported({**READ, name: value})
    facts = await profile(node)
    bare = await profile(reported({}, labels=node.labels))
    if bare[name].confidence is UNKNOWN:
        assert facts[name].confidence is UNKNOWN
        assert facts[name].source.startswith("what the node's inspection reports is left aside: ")
    else:
        assert facts[name] == bare[name]
    assert f"node gpu-1: what was reported of {name} is left aside: " in caplog.text
    # All else of the report counts as before.
    others = set(READ) - {name}
    assert {each: facts[each].value for each in others} == {each: READ[each] for each in others}


async def test_facts_of_other_plugins_are_passed_on_within_bounds() -> None:
    facts = await profile(reported({"tpu_count": 4, "tpu_names": ["x" * 5000], "tpu": 10**400}))
    assert facts["tpu_count"].value == 4
    assert facts["tpu_names"].confidence is facts["tpu"].confidence is UNKNOWN


@pytest.mark.parametrize(("offered", "counted"), [(0, 0), (1, 1), (2, 2), (8, 8)])
async def test_a_node_has_as_many_gpus_as_its_cluster_gives_out(offered: int, counted: int) -> None:
    node = reported(offers=offered)
    found = gpus_of(NodeProfile(node=node, facts=await profile(node)))
    assert len(found) == counted
    assert {each.memory_mib for each in found} <= {81559}


def test_a_machine_of_no_cluster_has_what_was_read() -> None:
    read = profile_of(("H100", "9.0", 81559), ("H100", "9.0", 81559))
    whatever = read.node.model_copy(update={"gpus": 0})
    assert len(gpus_of(read.model_copy(update={"node": whatever}))) == 2


def test_the_report_itself_is_not_told_to_callers() -> None:
    known = KnownNode(backend="kubernetes", profile=NodeProfile(node=reported()))
    assert "report" not in known.model_dump(mode="json")["profile"]["node"]
    assert KnownNode.model_validate_json(known.model_dump_json()).profile.node.report is None


@pytest.mark.parametrize(("ago", "outcome"), [(60, "fail"), (3600, "unknown")])
async def test_plans_go_by_what_was_read_and_refuse_nothing_by_what_is_old(
    ago: float, outcome: str
) -> None:
    node = reported({**READ, "cpu_level": "v2"}, ago=ago)
    image = image_profile(platforms=("linux/amd64/v3",))
    plan = planned(image, [NodeProfile(node=node, facts=await profile(node))])
    assert verdicts(plan)["cpu-level"] == outcome
