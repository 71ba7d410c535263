"""What real pods, as an API server described them, mean for their versions."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from longshore.core.types import ReplicaState
from longshore.plugins.kubernetes.reasons import (
    Finding,
    Told,
    finding,
    hindrance,
    killer,
    last_end,
    moment,
    refusal,
    shortage,
)

RECORDED = Path(__file__).with_name("recorded")
WORDS = ("behave starts", "last words: cannot find the model")
AFTER = datetime(2026, 11, 24, 6, 39, 30, tzinfo=UTC)


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def look(
    name: str,
    log_tail: tuple[str, ...] = (),
    *,
    routed: bool = False,
    was_ready: bool = False,
    now: datetime = AFTER,
) -> Finding:
    found = recorded(name)
    end = last_end(found["pod"]) or {}
    probe, killed_by = killer(found["events"], moment(end.get("startedAt")))
    return finding(
        found["pod"],
        routed=routed,
        was_ready=was_ready,
        told=Told(log_tail, probe, killed_by),
        login=None,
        now=now,
    )


def test_a_ready_pod_has_nothing_to_say() -> None:
    assert look("ready", routed=True) == Finding(ReplicaState.READY)
    assert look("ready") == Finding(ReplicaState.STARTING), "no endpoint yet"


def test_a_pod_that_lost_its_endpoint_is_unready() -> None:
    found = look("ready", was_ready=True)
    assert (found.state, found.reason) == (ReplicaState.UNREADY, "its health check fails")


def test_a_crash_loop_tells_code_and_last_words() -> None:
    found = look("crash", WORDS)
    assert (found.state, found.exit_code, found.ended) == (ReplicaState.EXITED, 3, True)
    assert found.reason == "exited with code 3; last line: last words: cannot find the model"


def test_a_pod_that_crashes_is_not_ready_however_it_is_routed() -> None:
    assert look("crash", WORDS, routed=True).state is ReplicaState.EXITED


def test_out_of_memory_names_the_limit() -> None:
    found = look("oom", ("behave starts",))
    assert (found.state, found.exit_code) == (ReplicaState.EXITED, 137)
    assert found.reason == "out of memory: killed at its limit of 64 MiB"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nofit", "no node has room for it: 0/1 nodes are available: 1 Insufficient memory."),
        ("gpu", "no node has room for it: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
    ],
)
def test_what_fits_nowhere_is_told_in_the_schedulers_words(name: str, reason: str) -> None:
    found = look(name)
    assert (found.state, found.hopeless) == (ReplicaState.STARTING, True)
    assert found.reason.startswith(reason)
    assert "add a node" in found.hint


def test_what_fits_nowhere_may_fit_soon() -> None:
    pod = recorded("nofit")["pod"]
    [placed] = pod["status"]["conditions"]
    since = moment(placed["lastTransitionTime"])
    assert since

    def hopeless(after: float) -> bool:
        found = finding(
            pod,
            routed=False,
            was_ready=False,
            told=Told(),
            login=None,
            now=since + timedelta(seconds=after),
            wait_for_room=timedelta(seconds=30),
        )
        assert found.state is ReplicaState.STARTING
        assert found.reason.startswith("no node has room for it: 0/1 nodes are available")
        return found.hopeless

    assert [hopeless(0), hopeless(29), hopeless(30)] == [False, False, True]


def test_an_image_that_is_missing() -> None:
    found = look("noimage")
    assert found.hopeless
    assert found.reason.startswith("the image 127.0.0.1:")
    assert "/behave@sha256:000000000000 is not in the registry" in found.reason
    assert found.hint == "Push it again, and register it under a new version."


def test_a_registry_that_is_away() -> None:
    found = look("noregistry")
    assert found.hopeless
    assert found.reason.startswith("the registry 127.0.0.1:9 cannot be reached:")


def test_a_health_check_that_never_succeeds() -> None:
    found = look("never", ("behave starts", "behave listens"))
    assert found.state is ReplicaState.EXITED
    assert found.reason == "not ready within 2 s: GET /health answered 500"


def test_a_command_that_is_not_there() -> None:
    found = look("nocmd")
    assert (found.state, found.exit_code) == (ReplicaState.EXITED, 128)
    assert found.reason.startswith("the image's command cannot be run in the image:")
    assert "python3" in found.reason
    assert "ENTRYPOINT" in found.hint


def restarted(name: str) -> dict[str, Any]:
    """Return a pod whose container runs again after the end that was recorded."""
    found = recorded(name)
    status = found["pod"]["status"]["containerStatuses"][0]
    status.update(state={"running": {"startedAt": "2026-11-24T06:39:20Z"}}, started=True)
    return found


def test_a_pod_that_runs_again_says_what_happened_for_a_while() -> None:
    pod = restarted("oom")["pod"]

    def told(now: datetime, *, routed: bool) -> Finding:
        return finding(pod, routed=routed, was_ready=False, told=Told(), login=None, now=now)

    again = told(AFTER, routed=False)
    assert again.state is ReplicaState.STARTING
    assert again.reason.startswith("started again after: out of memory")
    ready = told(AFTER, routed=True)
    assert ready.state is ReplicaState.READY
    assert ready.reason == (
        f"was started again {pod['status']['containerStatuses'][0]['restartCount']} times, "
        "last after: out of memory: killed at its limit of 64 MiB"
    )
    assert told(AFTER + timedelta(hours=1), routed=True).reason == ""


def test_a_user_that_may_not_is_told_which_it_was() -> None:
    found = look("crash", ("PermissionError: [Errno 13] Permission denied: '/models'",))
    assert "It ran as user 10001" in found.hint
    assert "--run-as" in found.hint


def test_a_pod_that_its_node_ended() -> None:
    pod = recorded("ready")["pod"]
    pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on disk."}
    found = finding(pod, routed=False, was_ready=True, told=Told(), login=None, now=AFTER)
    assert found == Finding(ReplicaState.EXITED, "ended by its node: The node was low on disk.")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            (
                'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, '
                "limited: pods=0"
            ),
            (
                "a quota of the namespace is used up: small, requested: pods=1, used: pods=0, "
                "limited: pods=0"
            ),
        ),
        (
            'admission webhook "policy.example.com" denied the request: images from here only',
            "the admission webhook policy.example.com refuses it: images from here only",
        ),
        (
            'Internal error occurred: failed calling webhook "p.example.com": no endpoints',
            (
                "the admission webhook p.example.com, which the cluster asks first, fails: "
                "no endpoints"
            ),
        ),
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            (
                "the namespace's Pod Security Standard (restricted:latest) forbids it: "
                "runAsNonRoot != true"
            ),
        ),
        (
            'deployments.apps "x" is forbidden: User "eve" cannot patch resource "deployments"',
            (
                'the cluster forbids it: deployments.apps "x" is forbidden: '
                'User "eve" cannot patch resource "deployments"'
            ),
        ),
        (
            (
                "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'ours' with binding 'all' "
                "denied request: no images from there"
            ),
            "the cluster's policy ours refuses it: no images from there",
        ),
        ("Deployment is invalid", "the cluster refuses it: Deployment is invalid"),
    ],
)
def test_refusals(message: str, reason: str) -> None:
    assert refusal(message).message == reason


def test_a_deployment_that_cannot_make_pods() -> None:
    assert shortage(recorded("crash")["deployment"]) is None
    failing = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
    found = shortage({"status": {"conditions": [failing]}})
    assert found is not None
    assert found.message == "a quota of the namespace is used up: small"


def test_a_node_that_makes_no_container_says_why() -> None:
    def event(at: str, by: str = "kubelet", kind: str = "Warning", message: str = "") -> Any:
        return {
            "lastTimestamp": f"2026-11-24T06:39:{at}Z",
            "source": {"component": by},
            "type": kind,
            "message": message or at,
        }

    scheduler = event("40", by="default-scheduler")
    pulling = event("30", kind="Normal")
    assert hindrance([]) == hindrance([pulling, scheduler]) == ""
    told = [event("10"), event("20", message="no driver"), pulling, scheduler]
    assert hindrance(told) == "no driver"
    waiting = {"name": "model", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pod = {**recorded("ready")["pod"], "status": {"containerStatuses": [waiting]}}

    def seen(told: Told) -> Finding:
        return finding(pod, routed=False, was_ready=False, told=told, login=None, now=AFTER)

    assert seen(Told()) == Finding(ReplicaState.STARTING)
    why = "its node does not get it ready: no driver"
    assert seen(Told(hindered="no driver")) == Finding(ReplicaState.STARTING, why)
