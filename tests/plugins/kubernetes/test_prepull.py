"""Which images are pulled ahead, where, and what becomes of the pods that do it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import kubernetes_validate
import pytest
from pydantic import SecretStr

from longshore.core.names import VersionKey
from longshore.core.settings import RegistryLogin
from longshore.core.types import Workload
from longshore.plugins.kubernetes.labels import selector
from longshore.plugins.kubernetes.prepull import (
    LOOK_AGAIN,
    MOST_AT_ONCE,
    Ended,
    Plan,
    Pull,
    Seen,
    Target,
    Tried,
    login_of,
    outcome,
    plan,
    pull_pod,
)
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.wanted import Wanted

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OWNER = "d1f3"
LOGIN = RegistryLogin(username="ada", password=SecretStr("s3cret"))

Json = dict[str, Any]


def image(name: str) -> str:
    return f"registry.example.com/{name}@sha256:" + "a" * 64


def wanted(name: str = "iris", nodes: Sequence[str] = ("a", "b"), **fields: Any) -> Wanted:
    workload = Workload.model_validate(
        {
            "key": VersionKey(name, "1"),
            "image": image(name),
            "replicas": 0,
            "port": 8080,
            "health_path": "/health",
            "health_required": True,
            "nodes": nodes,
            **fields,
        }
    )
    return Wanted(owner=OWNER, workload=workload, settings=KubernetesSettings())


def node(name: str, *images: str, ready: str = "True", cordoned: bool = False) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "images": [{"names": [each, f"{each}:latest"]} for each in images]
            # Its tag was taken away.
            + [{"names": None, "sizeBytes": 7}],
        },
    }


def begun(
    pull: Pull, status: Json | None = None, *, minutes: float = 0, going: bool = False
) -> Json:
    """Return the pod of a pull as the cluster has it."""
    pod = pull_pod(pull)
    pod["metadata"]["creationTimestamp"] = (NOW - timedelta(minutes=minutes)).isoformat()
    if going:
        pod["metadata"]["deletionTimestamp"] = NOW.isoformat()
    return {**pod, "status": status or {"phase": "Pending"}}


def container(**state: Json) -> Json:
    return {"phase": "Pending", "containerStatuses": [{"name": "model", "state": state}]}


PULLED = {**container(terminated={"reason": "StartError", "exitCode": 128}), "phase": "Failed"}
REFUSED = container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})
GATED = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: taints"}],
}


def planned(
    *versions: Wanted,
    nodes: Sequence[Json],
    pods: Sequence[Json] = (),
    tried: Mapping[Target, Tried] | None = None,
    count: int = 1,
) -> Plan:
    return plan(versions, Seen(pods, nodes, tried or {}), NOW, count=count)


def begins(found: Plan) -> list[tuple[str, str]]:
    return [(pull.wanted.workload.key.name, pull.node) for pull in found.begin]


@pytest.mark.parametrize(
    ("count", "where"), [(0, []), (1, ["b"]), (2, ["b", "a"]), (9, ["b", "a"])]
)
def test_the_best_nodes_of_the_placement_come_first(count: int, where: list[str]) -> None:
    nodes = [node("a"), node("b"), node("c")]
    found = planned(wanted(nodes=("b", "gone", "a")), nodes=nodes, count=count)
    assert begins(found) == [("iris", name) for name in where]


def test_nodes_that_take_no_pods_are_passed_over() -> None:
    nodes = [node("a", cordoned=True), node("b", ready="Unknown"), node("c")]
    assert begins(planned(wanted(nodes=("a", "b", "c")), nodes=nodes)) == [("iris", "c")]
    assert not begins(planned(wanted(nodes=("a", "b")), nodes=nodes))


def test_where_none_of_the_chosen_nodes_is_left_all_will_do() -> None:
    found = planned(wanted(nodes=("gone",)), nodes=[node("d"), node("c")], count=2)
    assert begins(found) == [("iris", "c"), ("iris", "d")]


def test_nodes_that_have_the_image_are_left_alone_and_not_replaced_by_others() -> None:
    assert not begins(planned(wanted(), nodes=[node("a", image("iris")), node("b")]))


def test_where_a_replica_is_its_image_comes_with_it() -> None:
    pod = {
        "metadata": {"name": "x", "labels": selector(OWNER, "longshore-iris")},
        "spec": {"nodeName": "a", "containers": [{"image": image("iris")}]},
    }
    found = planned(wanted(), nodes=[node("a"), node("b")], pods=[pod], count=2)
    assert begins(found) == [("iris", "b")]
    assert not found.ended
    assert not found.unwanted


def test_each_versions_best_node_comes_before_any_second_one() -> None:
    versions = [wanted("iris"), wanted("rose", ("b", "a"))]
    found = planned(*versions, nodes=[node("a"), node("b")], count=2)
    assert begins(found) == [("iris", "a"), ("rose", "b"), ("iris", "b"), ("rose", "a")]


def test_an_image_of_two_versions_is_pulled_once() -> None:
    other = wanted("rose", image=image("iris"))
    assert len(planned(wanted(), other, nodes=[node("a")]).begin) == 1


def test_there_are_never_more_at_once_than_the_bound() -> None:
    versions = [wanted(f"iris-{number}") for number in range(9)]
    found = planned(*versions, nodes=[node("a")])
    assert len(found.begin) == MOST_AT_ONCE
    # A pod that is being removed is not gone yet.
    pods = [begun(found.begin[0]), begun(found.begin[1], going=True), begun(found.begin[2], PULLED)]
    found = planned(*versions, nodes=[node("a")], pods=pods)
    assert begins(found) == [("iris-3", "a"), ("iris-4", "a")]
    assert [each.target for each in found.ended] == [("a", image("iris-2"))]


def test_a_pull_that_is_under_way_is_waited_for() -> None:
    [pull] = planned(wanted(), nodes=[node("a")]).begin
    assert planned(wanted(), nodes=[node("a")], pods=[begun(pull)]) == Plan()
    # Also while its node is not to be had any more.
    assert planned(wanted(), nodes=[], pods=[begun(pull)]) == Plan()


def test_pods_of_versions_that_are_gone_and_of_a_setting_that_was_taken_back_are_removed() -> None:
    pull = Pull(wanted(), "a")
    for status in ({"phase": "Pending"}, PULLED, REFUSED):
        pods = [begun(pull, status)]
        assert planned(nodes=[node("a")], pods=pods) == Plan(unwanted=(pull.name,))
        assert planned(wanted(), nodes=[], pods=pods, count=0) == Plan(unwanted=(pull.name,))
    assert planned(nodes=[], pods=[begun(pull, going=True)]) == Plan()


def test_what_was_pulled_is_not_pulled_again_though_its_node_lists_it_not() -> None:
    pull = Pull(wanted(), "a")
    found = planned(wanted(), nodes=[node("a")], pods=[begun(pull, PULLED)])
    assert found == Plan(ended=(Ended(pull.name, pull.target),))
    tried = {pull.target: Tried(NOW - timedelta(days=1)).next_after("", NOW)}
    assert tried[pull.target] == Tried(NOW + LOOK_AGAIN)
    assert planned(wanted(), nodes=[node("a")], tried=tried) == Plan()
    tried = {pull.target: Tried(NOW)}
    assert begins(planned(wanted(), nodes=[node("a")], tried=tried)) == [("iris", "a")]


def test_one_that_fails_is_tried_again_later_and_later() -> None:
    tried, waits = Tried(NOW), []
    for _ in range(8):
        tried = tried.next_after("no such image", NOW)
        waits.append((tried.not_before - NOW).total_seconds() / 60)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert tried.next_after("", NOW).failures == 0


@pytest.mark.parametrize(
    ("status", "minutes", "is_over", "problem"),
    [
        ({}, 0, False, ""),
        ({"phase": "Pending"}, 29, False, ""),
        ({"phase": "Pending"}, 31, True, "not there after 0:30:00"),
        (container(waiting={"reason": "ContainerCreating"}), 29, False, ""),
        (REFUSED, 1, False, ""),
        (REFUSED, 3, True, "no such image"),
        (GATED, 1, False, ""),
        (GATED, 3, True, "0/3 nodes: taints"),
        (PULLED, 0, True, ""),
        # With some runtimes a container that cannot start is tried for ever.
        (container(waiting={"reason": "CreateContainerError"}), 0, True, ""),
        # Somebody's image has that very command.
        (container(running={"startedAt": "x"}), 0, True, ""),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, 0, True, "Evicted: disk"),
        ({**PULLED, "reason": "NodeLost"}, 0, True, "NodeLost"),
    ],
)
def test_when_a_pull_is_over(status: Json, minutes: float, is_over: bool, problem: str) -> None:
    found = outcome(begun(Pull(wanted(), "a"), status, minutes=minutes), NOW)
    assert (found is not None) == is_over
    assert (found or "").startswith(problem)
    assert bool(found) == bool(problem)


def test_the_pod() -> None:
    pull = Pull(wanted(env={"COLOUR": "blue"}, gpu_count=1, memory_mib=1024), "a")
    assert pull_pod(pull) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pull.name,
            "namespace": "longshore",
            "labels": {
                "longshore.io/owner": OWNER,
                "longshore.io/pull": pull.wanted.name,
                "app.kubernetes.io/name": "iris",
                "app.kubernetes.io/component": "image-pull",
                "app.kubernetes.io/part-of": "longshore",
                "app.kubernetes.io/managed-by": "longshore",
            },
            "annotations": {"longshore.io/pulled-on": "a"},
        },
        "spec": {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {
                                "matchFields": [
                                    {"key": "metadata.name", "operator": "In", "values": ["a"]}
                                ]
                            }
                        ]
                    }
                }
            },
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "model",
                    "image": image("iris"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/longshore/pulls/this/image/and/runs/nothing"],
                    "resources": {
                        "requests": {"cpu": "1m", "memory": "1Mi"},
                        "limits": {"cpu": "100m", "memory": "64Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def test_no_relaxation_of_a_version_reaches_its_pull() -> None:
    security = {"run_as": 0, "capabilities": ["BPF"], "seccomp_unconfined": True}
    relaxed = pull_pod(Pull(wanted(security=security, writable_root=True), "a"))
    assert relaxed == pull_pod(Pull(wanted(), "a"))


def test_no_replicas_selector_finds_a_pull() -> None:
    pull = Pull(wanted(), "a")
    assert (
        not selector(OWNER, pull.wanted.name).items()
        <= pull_pod(pull)["metadata"]["labels"].items()
    )


def test_pulls_have_names_of_their_own() -> None:
    names = {Pull(wanted(name), where).name for name in ("iris", "rose") for where in ("a", "b")}
    assert len(names) == 4


def test_a_login_is_there_before_the_pull_and_goes_with_it() -> None:
    pull = Pull(replace(wanted(), login=LOGIN), "a")
    spec = pull_pod(pull)["spec"]
    assert spec["imagePullSecrets"] == [{"name": pull.name}]
    assert spec["schedulingGates"] == [{"name": "longshore.io/login"}]
    secret = login_of(pull, "some-uid")
    assert secret
    assert secret["metadata"]["name"] == pull.name
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": pull.name, "uid": "some-uid"}
    ]
    assert login_of(Pull(wanted(), "a"), "some-uid") is None


@pytest.mark.parametrize("version", ["1.30", "1.32", "1.34", "1.36", "1.37"])
def test_kubernetes_own_schemas_agree(version: str) -> None:
    pull = Pull(replace(wanted(), login=LOGIN), "a")
    kubernetes_validate.validate(pull_pod(pull), version, strict=True)
    kubernetes_validate.validate(login_of(pull, "some-uid"), version, strict=True)
