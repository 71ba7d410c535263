"""What ResourceSlices tell of nodes."""

import pytest
from parts.claimable import device, resource_slice
from parts.hardware import H100, T4

from longshore.core.cli.node_facts import print_node
from longshore.core.gpus import driver_of, gpus_of
from longshore.core.types import Confidence, Node, NodeProfile
from longshore.plugins.kubernetes.devices import device_facts, gpus_by_node

OLD = resource_slice("a", "pool-a", device("gpu-9", T4), generation=1)
NEW = resource_slice("a", "pool-a", device("gpu-0", T4), device("gpu-1", H100), generation=2)
SLICED = resource_slice("b", "pool-b", device("gpu-0-mig-1", H100, type_="mig"))


def test_whole_gpus_of_what_was_published_last() -> None:
    others = resource_slice("a", "others", device("x", H100))
    others["spec"]["driver"] = "gpu.example.com"
    nowhere = resource_slice("a", "network", device("x", H100))
    nowhere["spec"].pop("nodeName")
    found = gpus_by_node([OLD, NEW, SLICED, others, nowhere])
    assert {node: [each["name"] for each in devices] for node, devices in found.items()} == {
        "a": ["gpu-0", "gpu-1"],
        "b": [],
    }


def test_each_gpu_is_known_by_itself() -> None:
    facts = device_facts(gpus_by_node([NEW])["a"])
    node = Node(name="a", architecture="amd64", cpu_millicores=1, memory_mib=1, gpus=2)
    profile = NodeProfile(node=node, facts=facts)
    assert [(each.name, each.capability, each.memory_mib) for each in gpus_of(profile)] == [
        ("Tesla T4", (7, 5), 15360),
        ("NVIDIA H100 80GB HBM3", (9, 0), 81559),
    ]
    assert driver_of(profile) == 580
    assert facts["gpus"].confidence is Confidence.EXACT


def test_names_may_have_their_domain() -> None:
    found = device("gpu-0", T4)
    for part in ("attributes", "capacity"):
        found[part] = {f"gpu.nvidia.com/{name}": value for name, value in found[part].items()}
    spec = resource_slice("a", "pool", found)
    (gpu,) = gpus_by_node([spec])["a"]
    told = device_facts([gpu])
    assert told == device_facts([device("gpu-0", T4)])


def test_what_is_not_told_has_a_reason() -> None:
    bare = {"name": "gpu-0", "attributes": {"type": {"string": "gpu"}}}
    facts = device_facts([bare])
    assert isinstance(facts["gpus"].value, list)
    (gpu,) = facts["gpus"].value
    assert isinstance(gpu, dict)
    assert gpu["memory_total_mib"] is None
    assert gpu["unread"] == {
        name: "ResourceSlices do not tell" for name, value in gpu.items() if value is None
    }
    assert "driver" not in facts


def test_a_report_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_node(device_facts(gpus_by_node([NEW])["a"]), explain=True)
    told = capsys.readouterr().out
    assert "GPU-gpu-1" in told
    assert "9.0" in told
