"""``longshore hardware report --cluster``: the nodes of a running platform."""

import json

from parts.cli_program import Call
from parts.management_api import Answer, StandIn, problem

from longshore.core.types import Confidence, Evidence, KnownNode, Node, NodeProfile

REPORT = ("hardware", "report", "--cluster")


def node(name: str, allocatable: int = 0, /, **facts: object) -> KnownNode:
    machine = Node(
        name=name, architecture="amd64", cpu_millicores=7500, memory_mib=65536, gpus=allocatable
    )
    sure = Confidence.DECLARED
    told = {
        each: Evidence.model_validate({"value": value, "source": "a label", "confidence": sure})
        for each, value in facts.items()
    }
    told.setdefault(
        "gpus", Evidence(value=None, source="no label tells", confidence=Confidence.UNKNOWN)
    )
    return KnownNode(backend="kubernetes", profile=NodeProfile(node=machine, facts=told))


def tell(api: StandIn, *nodes: KnownNode) -> None:
    content = {"nodes": [each.model_dump(mode="json") for each in nodes]}
    answer = Answer(200, json.dumps(content).encode(), "application/json")
    api.intercept = lambda request: answer if request.path == "/api/nodes" else None


def test_a_line_for_each_node(api: StandIn, call: Call) -> None:
    gpu = {"index": 0, "name": "H100", "unread": {}}
    tell(
        api,
        node("gpu-1", 2, gpus=[gpu, gpu], driver="580.65.06", cpu_level="v4"),
        node("gpu-2", 8),
        node("plain", gpus=[]),
        node("dark\x1b[31m"),
    )
    done = call(*REPORT)
    assert done.exit_code == 0, done.output
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "NODE BACKEND ARCHITECTURE CPUS MEMORY DRIVER LEVEL GPUS",
        "gpu-1 kubernetes amd64 7.5 64 GiB 580.65.06 x86-64-v4 2 x H100",
        "gpu-2 kubernetes amd64 7.5 64 GiB - - 8 of unknown kind",
        "plain kubernetes amd64 7.5 64 GiB - - none",
        "dark kubernetes amd64 7.5 64 GiB - - -",
    ]


def test_all_that_is_known(api: StandIn, call: Call) -> None:
    tell(api, node("gpu-1", driver="580.65.06"))
    shown = call(*REPORT, "--explain").stdout
    assert "gpu-1 (kubernetes)\n" in shown
    assert "NVIDIA driver: 580.65.06\n    declared, by a label\n" in shown
    assert "  GPUs: no label tells\n" in shown


def test_json(api: StandIn, call: Call) -> None:
    tell(api, known := node("gpu-1"))
    assert json.loads(call(*REPORT, "--json").stdout) == {"nodes": [known.model_dump(mode="json")]}


def test_what_the_platform_says_reaches_the_user(api: StandIn, call: Call) -> None:
    api.intercept = lambda _: problem(503, "the engine does not answer")
    done = call(*REPORT)
    assert done.exit_code == 1
    assert "the engine does not answer" in str(done.exception) + done.output
