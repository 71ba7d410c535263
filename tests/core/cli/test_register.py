import json
import socket
import threading
import time

import pytest
from parts.cli_program import Call
from parts.management_api import StandIn, problem, running

from longshore.core.names import VersionKey
from longshore.core.types import (
    HardwarePlan,
    Placement,
    Progress,
    RankedNode,
    Requirement,
    State,
    Toleration,
    Verdict,
    VersionStatus,
)
from longshore.core.words.plan import plan_lines, plan_rows, scheduler_rows

KEY = VersionKey("iris", "1")
REGISTER = ("register", "iris", "1", "localhost:5001/iris:1")
READY = VersionStatus(state=State.READY, replicas=1, ready=1)


EVERY_OPTION = """
    --port 9000 --health-path /up --predict-path /go --contract generic --env A=1 --env B==2
    --min 0 --max 4 --target 3 --idle 30 --cpu 0.5 --memory 1G --gpu 1 --gpu-memory 20Gi
    --arch amd64 --node-selector disk=ssd --node-selector zone=a --backend engine
    --startup 20 --concurrency 5 --connect 1.5 --first-byte 8
    --timeout 9.5 --writable-root --no-wait
    --run-as 1000 --capability NET_BIND_SERVICE --capability BPF --privilege-escalation
    --seccomp-unconfined
"""


def body(api: StandIn) -> object:
    [put] = api.asked("PUT")
    assert put.path == "/api/models/iris/versions/1"
    return json.loads(put.body)


def test_only_what_was_given_is_sent(call: Call, api: StandIn) -> None:
    assert call(*REGISTER).exit_code == 0
    assert body(api) == {"image": "localhost:5001/iris:1"}


def test_every_option_reaches_its_place(call: Call, api: StandIn) -> None:
    warm = ["--warm", "Mon-Fri  08:00-18:00 Europe/Zurich", "--warm", "sat 22:00-02:00 UTC"]
    ended = call(*REGISTER, *EVERY_OPTION.split(), *warm, "--command", "serve --name 'a b'")
    assert ended.exit_code == 0, ended.stderr
    assert body(api) == {
        "image": "localhost:5001/iris:1",
        "port": 9000,
        "health_path": "/up",
        "predict_path": "/go",
        "contract": "generic",
        "backend": "engine",
        "env": {"A": "1", "B": "=2"},
        "command": ["serve", "--name", "a b"],
        "writable_root": True,
        "resources": {"cpu": "500m", "memory": "954Mi", "gpu": 1, "gpu_memory": "20480Mi"},
        "architecture": "amd64",
        "node_selector": {"disk": "ssd", "zone": "a"},
        "scaling": {
            "min": 0,
            "max": 4,
            "target": 3,
            "idle": 30,
            "warm": ["mon-fri 08:00-18:00 Europe/Zurich", "sat 22:00-02:00 UTC"],
        },
        "limits": {
            "startup": 20,
            "concurrency": 5,
            "connect": 1.5,
            "first_byte": 8,
            "total": 9.5,
        },
        "security": {
            "run_as": 1000,
            "capabilities": ["NET_BIND_SERVICE", "BPF"],
            "privilege_escalation": True,
            "seccomp_unconfined": True,
        },
    }
    assert len(api.requests) == 1, "--no-wait looks at nothing"


def test_times_may_be_told_with_their_unit(call: Call, api: StandIn) -> None:
    options = (
        "--idle 10m --startup 1h --connect 500s --first-byte 2min --timeout 1d --retention 12h"
    )
    assert call(*REGISTER, *options.split(), "--no-wait").exit_code == 0
    assert body(api) == {
        "image": "localhost:5001/iris:1",
        "scaling": {"idle": 600},
        "limits": {"startup": 3600, "connect": 500, "first_byte": 120, "total": 86400},
        "retention": 0.5,
    }


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--idle", "10x", "is no time: write a number, or one with s, m, h or d (10m)"),
        ("--retention", "-1", "is no time"),
        ("--startup", "0", "greater than 0"),
    ],
)
def test_what_is_no_time_is_said_before_anything_is_sent(
    call: Call, api: StandIn, option: str, text: str, says: str
) -> None:
    ended = call(*REGISTER, option, text)
    assert ended.exit_code == 2
    assert option in ended.stderr
    assert says in " ".join(ended.stderr.split())
    assert not api.requests


def test_all_capabilities_at_once_are_none(call: Call, api: StandIn) -> None:
    ended = call(*REGISTER, "--capability", "ALL")
    assert ended.exit_code == 2
    assert "--capability" in ended.stderr
    assert not api.requests


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--min", "0", "--warm", "mon-fri 8-18"), "is no time of the week: write it as"),
        (("--warm", "daily 08:00-18:00 UTC"), "--warm needs --min 0"),
    ],
)
def test_what_warm_cannot_be_is_said_before_anything_is_sent(
    call: Call, api: StandIn, options: tuple[str, ...], says: str
) -> None:
    ended = call(*REGISTER, *options)
    assert ended.exit_code == 2
    assert says in " ".join(ended.stderr.split())
    assert not api.requests


def test_a_larger_min_alone_is_the_max_too(call: Call, api: StandIn) -> None:
    call(*REGISTER, "--min", "3")
    assert body(api) == {"image": "localhost:5001/iris:1", "scaling": {"min": 3, "max": 3}}


def test_waiting_tells_each_step_once_and_ends_with_how_to_call_it(
    call: Call, api: StandIn
) -> None:
    api.starts_as = [
        VersionStatus(),
        VersionStatus(),
        *(
            VersionStatus(
                state=State.PULLING,
                progress=Progress(what="pulling iris", done=done, total=4 << 20),
            )
            for done in (0, 1 << 20, 3 << 20)
        ),
        VersionStatus(state=State.STARTING),
        READY,
    ]
    ended = call(*REGISTER)
    assert ended.exit_code == 0
    assert ended.stderr.splitlines() == [
        "iris:1 is registered",
        "Plan: no GPU, no CPU limit, no memory limit; on any architecture; fits here (engine)",
        "Why: no rule had anything to say",
        "iris:1 is pending",
        "iris:1 is pulling: pulling iris, 0% of 4 MiB",
        "iris:1 is starting",
    ]
    assert "iris:1 is ready." in ended.stdout
    assert "longshore predict iris:1 -d DATA" in ended.stdout
    assert f"curl {api.url}/v1/models/iris/versions/1/predict" in ended.stdout


def test_json_is_all_there_is_on_standard_output(call: Call, api: StandIn) -> None:
    api.starts_as = [VersionStatus(state=State.STARTING), READY]
    document = json.loads(call(*REGISTER, "--json").stdout)
    assert document["created"] is True
    assert document["record"]["status"]["state"] == "ready"
    again = json.loads(call(*REGISTER, "--json", "--no-wait").stdout)
    assert again["created"] is False


def test_warnings_of_the_plan_are_told_on_the_side(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    record = api.records[key]
    plan = HardwarePlan(warnings=("the image may\x1b[1m use a GPU", "less is known of it"))
    placement = record.version.placement.model_copy(update={"plan": plan})
    version = record.version.model_copy(update={"placement": placement})
    api.records[key] = record.model_copy(update={"version": version})
    told = call(*REGISTER).stderr.splitlines()
    assert [told[0], *told[3:5]] == [
        "iris:1 is registered already, nothing changed",
        "Warning: the image may use a GPU",
        "Warning: less is known of it",
    ]


def test_registering_the_same_again_says_so(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    ended = call(*REGISTER)
    assert ended.exit_code == 0
    assert "registered already, nothing changed" in ended.stderr


def test_a_version_that_sleeps_already_is_not_waited_for(call: Call, api: StandIn) -> None:
    api.add("iris", "1", state="asleep")
    call("sleep", "iris:1")
    ended = call(*REGISTER)
    assert ended.exit_code == 0
    assert "longshore wake iris:1" in ended.stdout


def test_a_failed_start_tells_reason_code_log_and_hint(call: Call, api: StandIn) -> None:
    failed = VersionStatus(
        state=State.FAILED,
        reason="the process ended",
        exit_code=3,
        log_tail=("loading", "no \x1b[31mmodel\x1b[0m here"),
        hint="Mend it.",
    )
    api.starts_as = [VersionStatus(state=State.STARTING), failed]
    ended = call(*REGISTER)
    assert ended.exit_code == 1
    assert ended.stderr.splitlines()[-4:] == [
        "Error: iris:1 failed: the process ended (exit code 3).",
        "  | loading",
        "  | no model here",
        "Hint: Mend it.",
    ]


def test_a_conflict_says_what_differs(call: Call, api: StandIn) -> None:
    api.intercept = lambda _: problem(409, "iris:1 is registered with other content: env.A")
    ended = call(*REGISTER)
    assert ended.exit_code == 1
    assert "env.A" in ended.stderr


GPU_PLAN = HardwarePlan(
    target="gpu",
    architectures=("amd64",),
    gpu_count=2,
    gpu_mem_floor_mib=20480,
    cpu_millicores=4000,
    memory_mib=8192,
    threads=2,
    node_selector={"disk": "ssd"},
    verdicts=(
        Verdict(rule="architecture", outcome="pass", evidence="image: linux/amd64"),
        Verdict(rule="gpu-driver", outcome="unknown", evidence="driver 580 or newer"),
        Verdict(rule="gpu-memory", outcome="fail", evidence="no GPU is large enough"),
    ),
)


def test_a_plan_in_two_lines() -> None:
    nodes = tuple(RankedNode(name=f"n{number}", score=1) for number in range(5))
    gets, why = plan_lines(Placement(backend="kubernetes", nodes=nodes, plan=GPU_PLAN))
    assert gets == (
        "Plan: 2 GPUs of 20 GiB or more, 4 cores, 2 threads per worker, 8 GiB memory; "
        "on amd64, disk=ssd; fits n0, n1, n2 and 2 more (kubernetes)"
    )
    assert why == (
        "Why: gpu-memory fail (no GPU is large enough); gpu-driver unknown (driver 580 or newer); "
        "architecture (image: linux/amd64)"
    )


def test_digests_in_evidence_are_no_longer_than_it_takes() -> None:
    told = Verdict(rule="r", outcome="pass", evidence=f"layer sha256:{'a' * 64}: /x")
    placement = Placement(backend="engine", nodes=(), plan=HardwarePlan(verdicts=(told,)))
    assert plan_lines(placement)[1] == f"Why: r (layer sha256:{'a' * 12}…: /x)"


def test_a_plan_in_rows() -> None:
    assert dict(plan_rows(GPU_PLAN)) == {
        "processors": "amd64",
        "GPUs": "2 of 20 GiB or more",
        "CPU": "4 cores",
        "memory": "8 GiB",
        "threads": "2 in each worker process",
        "node labels": "disk=ssd",
    }
    small = HardwarePlan(
        architectures=("amd64", "arm64"), cpu_level=3, cpu_millicores=1000, env={"A": "1"}
    )
    rows = dict(plan_rows(small))
    assert rows["processors"] == "amd64 or arm64, level v3 of x86-64 or higher"
    assert (rows["CPU"], rows["environment"]) == ("1 core", "A=1")


def test_what_a_scheduler_is_told() -> None:
    terms = (
        Requirement(label="arch", operator="In", values=("amd64", "arm64")),
        Requirement(label="memory", operator="Gt", values=("8191",)),
        Requirement(label="kind", operator="NotIn", values=("T4",)),
        Requirement(label="age", operator="Lt", values=("4",)),
        Requirement(label="gpu", operator="Exists"),
    )
    none = (Requirement(label="gpu", operator="DoesNotExist"),)
    plan = HardwarePlan(
        affinity=(terms, none),
        preferred=(Requirement(label="avx2", operator="In", values=("true",)),),
        tolerations=(Toleration(key="gpu"),),
    )
    assert list(scheduler_rows(plan)) == [
        (
            "nodes with",
            "arch in (amd64, arm64) and memory > 8191 and kind not in (T4) and age < 4 and gpu",
        ),
        ("or nodes with", "no gpu"),
        ("better with", "avx2=true"),
        ("in spite of taints", "gpu:NoSchedule"),
    ]


def test_a_preflight_tells_the_plan_in_two_lines_and_stores_nothing(
    call: Call, api: StandIn
) -> None:
    ended = call(*REGISTER, "--preflight")
    assert ended.exit_code == 0
    plan, why = ended.stdout.splitlines()
    assert (plan[:6], why[:5]) == ("Plan: ", "Why: ")
    assert [each.path for each in api.requests] == ["/api/models/iris/versions/1/preflight"]


def test_a_preflight_of_what_fits_nowhere_tells_the_plan_and_the_refusal(
    call: Call, api: StandIn
) -> None:
    refusal = problem(422, "no node fits: fit on n: 1 GPUs asked for, it has 0")
    api.intercept = lambda request: None if "force=true" in request.path else refusal
    ended = call(*REGISTER, "--preflight")
    assert ended.exit_code == 1
    assert len(ended.stdout.splitlines()) == 2
    assert "no node fits: fit on n: 1 GPUs asked for, it has 0" in ended.stderr
    assert not api.records
    assert call(*REGISTER, "--preflight", "--force").exit_code == 0
    assert call(*REGISTER, "--no-wait").exit_code == 1
    assert call(*REGISTER, "--no-wait", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--gpu-memory 20", "less than one mebibyte"),
        ("--gpu 0 --gpu-memory 20Gi", "is of each GPU, and gpu 0 asks for none"),
        ("--gpu 65", "--gpu"),
        ("--arch AMD64", "--arch"),
        ("--node-selector disk", "write NAME=VALUE"),
        ("--node-selector a=1 --node-selector a=2", "a label is set twice"),
        ("--node-selector a/b/c=1", "--node-selector"),
    ],
)
def test_wishes_that_cannot_be_are_told_before_anything_is_asked(
    call: Call, api: StandIn, options: str, told: str
) -> None:
    ended = call(*REGISTER, *options.split())
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert not api.requests


def test_a_dry_run_shows_the_plan_and_stores_nothing(call: Call, api: StandIn) -> None:
    ended = call(*REGISTER, "--dry-run")
    assert ended.exit_code == 0
    assert [(each.method, each.path) for each in api.requests] == [
        ("POST", "/api/models/iris/versions/1/preflight")
    ]
    assert "image: localhost:5001/iris@sha256:aaa" in ended.stdout
    assert "  hardware\n    processors: any\n    GPUs: none\n    CPU: no limit\n" in ended.stdout
    assert "1. longshore_resolve_image by images" in ended.stdout
    assert "Nothing was stored" in ended.stdout
    document = json.loads(call(*REGISTER, "--dry-run", "--json").stdout)
    assert document["version"]["key"] == {"name": "iris", "version": "1"}
    assert len(document["decisions"]) == 2


def test_a_platform_that_starts_again_meanwhile_is_waited_for(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = StandIn(starts_as=[VersionStatus(state=State.STARTING)])
    away, back = threading.Event(), threading.Event()

    def restart() -> None:
        with running(state, port):
            ready.set()
            while not state.asked("GET"):
                time.sleep(0.01)
        away.set()
        time.sleep(0.3)
        state.plays[KEY] = [READY]
        with running(state, port):
            back.wait(20)

    ready = threading.Event()
    platform = threading.Thread(target=restart)
    platform.start()
    ready.wait(5)
    try:
        ended = call(*REGISTER, LONGSHORE_URL=f"http://127.0.0.1:{port}")
    finally:
        back.set()
        platform.join()
    assert ended.exit_code == 0, ended.stderr
    assert "waiting for the platform" in ended.stderr
    assert "iris:1 is ready." in ended.stdout


def test_a_platform_that_stays_away_ends_the_wait(
    call: Call, api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore.core.cli.waiting.AWAY", 0.2)

    api.intercept = lambda request: (
        problem(503, "the database does not answer") if request.method == "GET" else None
    )
    ended = call(*REGISTER)
    assert ended.exit_code == 1
    assert "iris:1 is registered, and whether it started is not known" in ended.stderr


def test_a_version_that_is_deleted_meanwhile_ends_the_wait(call: Call, api: StandIn) -> None:
    api.intercept = lambda request: (
        problem(404, "there is no version 'iris:1'") if request.method == "GET" else None
    )
    ended = call(*REGISTER)
    assert ended.exit_code == 1
    assert "went away while it started" in ended.stderr


# --- wake, which waits in the same way ------------------------------------------------------------


def test_waking_waits_until_ready(call: Call, api: StandIn) -> None:
    api.add("iris", "1", state="asleep")
    api.starts_as = [VersionStatus(state=State.ASLEEP), VersionStatus(state=State.STARTING), READY]
    ended = call("wake", "iris")
    assert ended.exit_code == 0
    assert ended.stdout == "iris:1 is ready.\n"


def test_waking_a_failed_version_does_not_take_its_old_failure_for_the_new(
    call: Call, api: StandIn
) -> None:
    api.add("iris", "1", state="failed", reason="old", failures=4)
    old = api.records[KEY].status
    woken = old.model_copy(update={"retry_at": None})
    api.starts_as = [woken, woken, VersionStatus(state=State.STARTING, failures=4), READY]
    assert call("wake", "iris:1").exit_code == 0


def test_waking_a_failed_version_in_vain_tells_the_new_failure(call: Call, api: StandIn) -> None:
    api.add("iris", "1", state="failed", reason="old", failures=4)
    old = api.records[KEY].status
    new = old.model_copy(update={"reason": "new", "failures": 5})
    api.starts_as = [old, new]
    ended = call("wake", "iris:1")
    assert ended.exit_code == 1
    assert "iris:1 failed: new" in ended.stderr


def test_a_failure_that_stays_is_believed_after_a_while(
    call: Call, api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore.core.cli.waiting.STALE", 0.2)
    api.add("iris", "1", state="failed", reason="it listens on another port")
    api.starts_as = [api.records[KEY].status]
    ended = call("wake", "iris:1")
    assert ended.exit_code == 1
    assert "another port" in ended.stderr


def test_an_architecture_by_the_kernels_word_for_it(call: Call, api: StandIn) -> None:
    assert call(*REGISTER, "--arch", "aarch64", "--no-wait").exit_code == 0
    [record] = api.records.values()
    assert record.version.spec.architecture == "arm64"
