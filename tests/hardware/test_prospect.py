"""What ``longshore hardware report IMAGE`` says an image leads to: against a real registry."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from examples_of import NOON
from parts.cli_program import terminal
from parts.handmade import RunningRegistry
from parts.hardware import T4, labelled
from parts.image_cases import torch
from parts.image_materials import SKLEARN, XGBOOST_FILES
from parts.layers import gzipped, package, tar
from parts.management_api import Answer, StandIn, running

from longshore.core.cli import build_cli
from longshore.core.machine import architecture
from longshore.core.measures import Measured, settings_of
from longshore.core.names import VersionKey
from longshore.core.types import KnownNode, Node, NodeProfile, VersionSpec

NOWHERE = "http://127.0.0.1:9"
VLLM = {**torch("2.9.0"), **package("vllm", "0.11.0", owns=["vllm"])}
FOREIGN = "arm64" if architecture() == "amd64" else "amd64"

NO_GPU = '{"gpus": Evidence(value=[], source="a test", confidence="exact")}'
NO_DRIVER = '{"gpus": Evidence(value=None, source="no driver answers", confidence="unknown")}'


@pytest.fixture
def push(registry: RunningRegistry) -> Any:
    """Push an image of these files, and return its reference."""

    def push(
        name: str,
        files: Mapping[str, bytes | None],
        *broken: bytes,
        built_for: str = architecture(),
        **container: Any,
    ) -> str:
        config = {"os": "linux", "architecture": built_for, "config": container}
        registry.image(name, "1", config, layers=(*broken, gzipped(tar(files))))
        return f"{registry.host}/{name}:1"

    return push


def configured(folder: Path, facts: str = NO_GPU, *code: str) -> Sequence[str]:
    """Return options: of the machine only these facts are known; and more plugins."""
    node = f"@hookimpl\ndef longshore_profile_node(node):\n    return {facts}\n"
    file = '[[plugin]]\nname = "nodes"\nenabled = false\n'
    for number, each in enumerate((node, *code)):
        (folder / f"p{number}.py").write_text(f"from longshore import *\n\n{each}")
        file += f'[[plugin]]\npath = "p{number}.py"\n'
    (folder / "plugins.toml").write_text(file)
    return ("--config", str(folder / "plugins.toml"), "--state", str(folder / "state"))


def report(*arguments: str, url: str = NOWHERE) -> Result:
    command = ["hardware", "report", *arguments]
    return CliRunner().invoke(build_cli(), command, env={"LONGSHORE_URL": url})


def lines(ended: Result) -> list[str]:
    assert ended.exit_code == 0, ended.stderr
    return [" ".join(line.split()) for line in ended.stdout.splitlines()]


def document(ended: Result) -> Any:
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)


def test_an_image_that_needs_a_gpu_does_not_fit_on_a_machine_without(
    push: Any, tmp_path: Path
) -> None:
    image = push("needs", VLLM, Labels={"longshore.gpu": "required"}, Env=["CUDA_VERSION=12.8"])
    ended = report(image, *configured(tmp_path))
    [node] = [line for line in lines(ended) if "does not fit" in line]
    assert node.endswith("does not fit - 1 GPU asked for, it has none")
    for line in (
        "PLAN VALUE",
        f"processors {architecture()}",
        "GPUs 1",
        "NVIDIA driver 525 or newer",
        "CPU no limit",
        "RULE OUTCOME WHY",
        "gpu-target fail the image needs a GPU (label longshore.gpu), and no node has one",
        "hint Add a node with a GPU; or say --gpu 0 if it serves without.",
        "Passed: architecture. --explain tells why.",
        "NODE VERDICT SCORE WHY",
    ):
        assert line in lines(ended), ended.stdout
    # What the plan warns of, too, is told once.
    assert ended.stdout.count("no weights are in the image") == 1
    assert ended.stderr == ""


def test_what_is_only_inferred_would_be_tried_so_that_it_is_unknown(
    push: Any, tmp_path: Path
) -> None:
    ended = report(push("seems", VLLM), *configured(tmp_path))
    [rule] = [line for line in lines(ended) if line.startswith("gpu-target unknown")]
    assert "the image seems to need a GPU (vllm 0.11.0 (layer sha256:" in rule
    assert "…: /usr/lib/" in rule, "digests are shortened"
    why = "the image seems to need a GPU, and would be tried without: it has none"
    assert lines(ended)[-1].endswith(why)
    [node] = document(report(push("seems", VLLM), *configured(tmp_path), "--json"))["nodes"]
    assert (node["verdict"], node["reasons"]) == ("unknown", [why])


def test_an_image_for_other_processors(push: Any, tmp_path: Path) -> None:
    image = push("foreign", SKLEARN, built_for=FOREIGN)
    ended = report(image, *configured(tmp_path))
    assert any(line.startswith("architecture fail no node can run") for line in lines(ended))
    why = f"it is {architecture()}, and the image is built for {FOREIGN}"
    assert lines(ended)[-1].endswith(f"does not fit - {why}")


def test_an_image_that_may_use_a_gpu_fits_with_a_warning(push: Any, tmp_path: Path) -> None:
    image = push("may", {**torch("2.9.0"), **XGBOOST_FILES})
    shown = lines(report(image, *configured(tmp_path)))
    assert any(line.startswith("- warning the image may use a GPU (") for line in shown)
    assert " fits " in shown[-1]
    assert "GPUs none" in shown


def test_a_machine_of_whose_gpus_nothing_is_known_is_not_guessed_about(
    push: Any, tmp_path: Path
) -> None:
    options = configured(tmp_path, NO_DRIVER)
    shown = lines(report(push("small", SKLEARN), "--gpu", "1", *options))
    assert shown[-1].endswith("unknown - which GPUs it has is not known: no driver answers")
    # Where none is asked for, it does not matter.
    assert " fits " in lines(report(push("small", SKLEARN), *options))[-1]


def test_wishes_are_those_of_register_and_conflicts_are_told(push: Any, tmp_path: Path) -> None:
    image, options = push("wished", SKLEARN, Cmd=["gunicorn", "-w", "2"]), configured(tmp_path)
    wishes = ("--gpu=1", "--gpu-memory=20Gi", "--cpu=1", "--memory=99Ti")
    ended = report(image, *wishes, "--node-selector=disk=ssd", *options)
    shown = lines(ended)
    for line in (
        "GPUs 1 of 20 GiB or more",
        "CPU 1 core",
        "threads 1 in each worker process",
        "node labels disk=ssd",
    ):
        assert line in shown, ended.stdout
    assert any(
        line.startswith("- warning a GPU was asked for, and the image seems to use none")
        for line in shown
    )
    for why in ("99 TiB memory asked for", "1 GPU asked for", "it lacks the label disk=ssd"):
        assert why in shown[-1]
    other = document(report(image, "--arch", FOREIGN, *options, "--json"))
    assert other["plan"]["architectures"] == [FOREIGN]
    assert other["nodes"][0]["verdict"] == "does not fit"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("IMAGE", "--memory", "lots"), "is no amount of memory"),
        (("IMAGE", "--gpu", "0", "--gpu-memory", "1Gi"), "--gpu and --gpu-memory: gpu_memory"),
        (("IMAGE", "--node-selector", "a=1", "--node-selector", "a=2"), "a label is set twice"),
        (("IMAGE", "--backend", "engine"), "add --cluster"),
        (("--gpu", "1"), "--gpu is a wish for an image"),
        (("--cluster", "--arch", "arm64"), "--arch is a wish for an image"),
    ],
)
def test_what_makes_no_sense_is_wrong_use(arguments: Sequence[str], message: str) -> None:
    ended = report(*(each.replace("IMAGE", "localhost:1/iris:1") for each in arguments))
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_json_holds_the_plan_and_the_nodes_beside_what_it_held(push: Any, tmp_path: Path) -> None:
    told = document(report(push("told", SKLEARN), *configured(tmp_path), "--json"))
    assert set(told) == {"image", "facts", "plan", "nodes"}
    assert told["image"]["platforms"] == [f"linux/{architecture()}"]
    assert told["facts"]["gpu_need"]["value"] == "none"
    assert told["plan"]["architectures"] == [architecture()]
    assert {each["rule"] for each in told["plan"]["verdicts"]} == {"architecture", "gpu-target"}
    [node] = told["nodes"]
    assert set(node) == {"name", "verdict", "reasons", "score"}
    assert (node["verdict"], node["reasons"]) == ("fits", [])
    assert node["score"] > 0


def test_explained_every_rule_has_its_evidence_and_every_fact_its_source(
    push: Any, tmp_path: Path
) -> None:
    image = push("needs", VLLM, Labels={"longshore.gpu": "required"})
    shown = report(image, *configured(tmp_path), "--explain", "--cpu", "2").stdout
    for each in (
        "GPU need: required\n    declared, by label longshore.gpu\n",
        f"nodes with          kubernetes.io/arch={architecture()}",
        "in spite of taints  nvidia.com/gpu:NoSchedule\n",
        "gpu-target: fail\n    the image needs a GPU (label longshore.gpu), and no node has one\n",
        "    Hint: Add a node with a GPU; or say --gpu 0",
        f"architecture: pass\n    image: linux/{architecture()}; nodes: {architecture()}\n",
        "threads: pass\n    2 cores for 1 worker process\n",
        ": does not fit\n    fit: 1 GPU asked for, it has none\n",
        "    GPUs: none\n        exact, by a test\n",
    ):
        assert each in shown, shown
    fits = report(push("small", SKLEARN), *configured(tmp_path), "--explain").stdout
    assert "    score " in fits
    assert "spreading 100" in fits


def test_plugins_that_fail_are_warnings_and_no_traceback(push: Any, tmp_path: Path) -> None:
    failing = """@hookimpl
def longshore_plan_hardware(version):
    raise OSError("no plan")

@hookimpl
def longshore_filter_node(node):
    raise OSError("disk full")

@hookimpl
def longshore_profile_node(node):
    raise OSError("no profile")
"""
    options = configured(tmp_path, NO_GPU, failing)
    arguments = ("hardware", "report", push("small", SKLEARN), *options)
    with terminal(*arguments, url=NOWHERE, columns=100) as shown:
        assert shown.end() == 0
    for why in (
        "longshore_plan_hardware: OSError: no plan",
        "longshore_filter_node: OSError: disk full",
        "longshore_profile_node: OSError: no profile",
    ):
        assert f"Warning: plugin p1 failed in {why}\n" in shown.shown
    assert "Traceback" not in shown.shown
    assert "\x1b[33munknown\x1b[0m" in shown.shown
    assert shown.shown.rstrip().endswith("in longshore_filter_node: OSError: disk full")


def test_without_a_plan_what_is_known_is_told(push: Any, tmp_path: Path) -> None:
    refusing = '@hookimpl\ndef longshore_plan_hardware(version):\n    raise Refused("not today")\n'
    options = configured(tmp_path, NO_GPU, refusing)
    ended = report(push("small", SKLEARN), *options)
    assert "PLAN" not in ended.stdout
    assert "scikit-learn 1.7.0" in ended.stdout
    assert lines(ended)[-1].endswith("does not fit - not today")
    assert document(report(push("small", SKLEARN), *options, "--json"))["plan"] is None


def test_an_image_that_was_not_read_completely_is_not_said_to_fit(
    push: Any, tmp_path: Path
) -> None:
    ended = report(push("broken", SKLEARN, b"no layer"), *configured(tmp_path))
    shown = lines(ended)
    assert "Warning: not all of the image was read" in ended.stderr
    assert any(line.startswith("image-read unknown not all of the image") for line in shown)
    assert "whether the image needs a GPU is not known" in shown[-1]
    sure = report(push("broken", SKLEARN, b"no layer"), *configured(tmp_path), "--gpu", "0")
    assert " fits " in lines(sure)[-1]


def test_lines_of_a_narrow_terminal_go_on_below_and_nothing_is_cut(
    push: Any, tmp_path: Path
) -> None:
    image = push("needs", VLLM, Labels={"longshore.gpu": "required"})
    arguments = ("hardware", "report", image, *configured(tmp_path))
    with terminal(*arguments, url=NOWHERE, columns=60) as shown:
        assert shown.end() == 0
    _, plan = shown.shown.split("\x1b[1mPLAN")
    words = " ".join(plan.split())
    assert "and no node has one" in words
    assert "if it serves without." in words
    assert "\x1b[31mfail\x1b[0m" in plan
    assert "\x1b[31mdoes not fit\x1b[0m" in plan
    assert max(map(len, click.unstyle(plan).splitlines())) <= 60
    assert "\x1b" not in report(image, *configured(tmp_path)).stdout


# --- the nodes of a platform ----------------------------------------------------------------------


def known(
    name: str, backend: str = "kubernetes", profile: NodeProfile | None = None, **node: Any
) -> KnownNode:
    described = {"architecture": "amd64", "cpu_millicores": 4000, "memory_mib": 8192, **node}
    machine = Node(name=name, labels={"kubernetes.io/arch": "amd64"}, **described)
    facts = profile.facts if profile else {}
    return KnownNode(backend=backend, profile=NodeProfile(node=machine, facts=facts))


@pytest.fixture
def api() -> Any:
    """A platform's API without a platform behind it."""
    with running(StandIn()) as state:
        yield state


def tell(api: StandIn, *nodes: KnownNode) -> None:
    content = {"nodes": [each.model_dump(mode="json") for each in nodes]}
    answer = Answer(200, json.dumps(content).encode())
    api.intercept = lambda request: answer if request.path == "/api/nodes" else None


CLUSTER = (
    known("plain"),
    known("dark", gpus=1),
    known("t4", gpus=1, profile=labelled(T4)),
    known("arm", gpus=1, architecture="arm64"),
)


def test_each_node_of_a_platform_has_its_verdict_the_best_first(
    push: Any, api: StandIn, tmp_path: Path
) -> None:
    tell(api, *CLUSTER)
    image = push("cluster", SKLEARN, built_for="amd64")
    wishes = ("--cluster", "--gpu", "1", "--gpu-memory", "8Gi", *configured(tmp_path))
    shown = lines(report(image, *wishes, url=api.url))
    start = shown.index("NODE VERDICT SCORE WHY")
    t4, dark, *others, empty, total = shown[start + 1 :]
    assert t4.startswith("t4 fits ")
    assert dark.startswith("dark unknown ")
    assert "the memory of its GPUs is not known, and 8 GiB of each are needed" in dark
    assert others == [
        "plain does not fit - 1 GPU asked for, it has none",
        "arm does not fit - it is arm64, and the image is built for amd64",
    ]
    assert (empty, total) == (
        "",
        "It fits on 1 of 4 nodes; whether on 1 more is not known.",
    )
    nodes = document(report(image, *wishes, "--json", url=api.url))["nodes"]
    assert [each["name"] for each in nodes] == ["plain", "dark", "t4", "arm"]
    assert [each.path for each in api.asked("GET")].count("/api/nodes") == 2


def test_what_was_measured_on_a_platform_is_told_and_planned_by(
    push: Any, api: StandIn, tmp_path: Path
) -> None:
    tell(api, known("plain"))
    spec = VersionSpec.model_validate({"image": "x", "resources": {"memory": "1000Mi"}})
    api.measures = [
        Measured(
            digest="sha256:" + "a" * 64,
            settings=settings_of(spec),
            resources=spec.resources,
            version=VersionKey("iris", "1"),
            memory_mib=950,
            readings=12,
            since=NOON,
            last_at=NOON,
        )
    ]
    image = push("cluster", SKLEARN, built_for="amd64")
    options = ("--cluster", "--memory", "1000Mi", *configured(tmp_path))
    shown = lines(report(image, *options, url=api.url))
    assert "memory measured exact 950 MiB" in shown
    assert "memory used measured 950 MiB" in shown
    assert any(line.startswith("measured-memory unknown measured: the memory") for line in shown)
    told = document(report(image, *options, "--json", url=api.url))
    assert told["facts"]["memory_measured"]["value"] == 950
    assert told["plan"]["memory_measured_mib"] == 950
    # Without a platform, nobody knows.
    alone = document(report(image, *configured(tmp_path), "--json"))
    assert "memory_measured" not in alone["facts"]


def test_a_version_runs_on_one_backend(push: Any, api: StandIn, tmp_path: Path) -> None:
    tell(api, *CLUSTER, known("here", "engine"))
    image = push("cluster", SKLEARN, built_for="amd64")
    options = ("--cluster", *configured(tmp_path))
    ended = report(image, *options, url=api.url)
    assert ended.exit_code == 2
    assert "nodes of kubernetes and engine, and a version runs on one" in ended.stderr
    assert "--backend kubernetes" in ended.stderr
    one = document(report(image, *options, "--backend", "engine", "--json", url=api.url))
    assert [each["name"] for each in one["nodes"]] == ["here"]
    wrong = report("--cluster", "--backend", "ray", url=api.url)
    assert wrong.exit_code == 2
    assert "no node of a backend 'ray'" in wrong.stderr


def test_a_platform_without_nodes(push: Any, api: StandIn, tmp_path: Path) -> None:
    tell(api)
    ended = report(push("cluster", SKLEARN), "--cluster", *configured(tmp_path), url=api.url)
    assert lines(ended)[-1] == "There is no node to run it on."


def test_names_too_long_for_a_terminal_leave_the_reason_its_room(
    push: Any, api: StandIn, tmp_path: Path
) -> None:
    name = "ip-10-0-17-23.eu-central-1.compute.internal"
    tell(api, known(name))
    image = push("cluster", SKLEARN, built_for="amd64")
    arguments = ("hardware", "report", image, "--cluster", "--gpu", "1", *configured(tmp_path))
    with terminal(*arguments, url=api.url, columns=60) as shown:
        assert shown.end() == 0
    assert shown.shown.endswith("\n    1 GPU asked for, it has none\n")
