"""Workload to container, and container to facts, as whole values."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from longshore.core.names import VersionKey
from longshore.core.types import Address, Workload
from longshore.plugins.engine.containers import (
    Container,
    container_config,
    container_name,
    parse_container,
    parse_listed,
)

KEY = VersionKey("iris", "1.0_b")
IMAGE = "localhost:5001/iris@sha256:" + "a" * 64


def workload(**fields: object) -> Workload:
    return Workload.model_validate(
        {
            "key": KEY,
            "image": IMAGE,
            "replicas": 1,
            "port": 8080,
            "health_path": "/health",
            "health_required": False,
            **fields,
        }
    )


def config(wanted: Workload, writable_because: str = "", *, init: bool = False) -> dict[str, Any]:
    return container_config(
        wanted,
        owner="me",
        state=Path("/var/lib/longshore"),
        writable_because=writable_because,
        init=init,
    )


def test_each_relaxation_is_taken_alone() -> None:
    def host(**security: object) -> dict[str, Any]:
        found: dict[str, Any] = config(workload(security=security))
        return found

    assert "User" not in host()
    assert host(run_as=0)["User"] == "0"
    assert host(capabilities=["BPF"])["HostConfig"]["CapAdd"] == ["BPF"]
    assert host(capabilities=["BPF"])["HostConfig"]["CapDrop"] == ["ALL"]
    assert host(privilege_escalation=True)["HostConfig"]["SecurityOpt"] == []
    assert host(seccomp_unconfined=True)["HostConfig"]["SecurityOpt"] == [
        "no-new-privileges",
        "seccomp=unconfined",
    ]


def test_smallest_config() -> None:
    wanted = workload()
    assert config(wanted) == {
        "Image": IMAGE,
        "Env": [],
        "Labels": {
            "io.longshore.owner": "me",
            "io.longshore.model": "iris",
            "io.longshore.version": "1.0_b",
            "io.longshore.state": "/var/lib/longshore",
            "io.longshore.fingerprint": wanted.fingerprint,
            "io.longshore.port": "8080",
            "io.longshore.health-path": "/health",
            "io.longshore.health-required": "false",
            "io.longshore.startup": "300",
        },
        "ExposedPorts": {"8080/tcp": {}},
        "StopTimeout": 30,
        "HostConfig": {
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "ReadonlyRootfs": True,
            "Tmpfs": {
                "/tmp": "rw,exec,nosuid,nodev,mode=1777",  # noqa: S108 - in the container
                "/var/tmp": "rw,exec,nosuid,nodev,mode=1777",  # noqa: S108 - in the container
                "/run": "rw,exec,nosuid,nodev,mode=755",
            },
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 4096,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        },
    }


def test_what_may_be_added() -> None:
    plain = config(workload())
    full = config(
        workload(
            env={"A": "1", "B": "x=y"},
            command=("--model", "iris"),
            labels={"team": "blue", "io.longshore.owner": "forged"},
            memory_mib=512,
            cpu_millicores=1500,
            gpu_count=2,
        ),
        "because",
        init=True,
    )
    assert full["Env"] == ["A=1", "B=x=y"]
    assert full["Cmd"] == ["--model", "iris"]
    labels = full["Labels"]
    assert labels["team"] == "blue"
    assert labels["io.longshore.owner"] == "me"
    assert labels["io.longshore.writable-root"] == "because"
    added = {
        name: value
        for name, value in full["HostConfig"].items()
        if plain["HostConfig"].get(name) != value
    }
    assert added == {
        "ReadonlyRootfs": False,
        "Init": True,
        "Memory": 512 << 20,
        "MemorySwap": 512 << 20,
        "NanoCpus": 1_500_000_000,
        "DeviceRequests": [{"Driver": "nvidia", "Count": 2, "Capabilities": [["gpu"]]}],
    }


def test_names_are_readable_and_new() -> None:
    names = {container_name(KEY) for _ in range(50)}
    assert len(names) > 45
    assert all(name.startswith("longshore-iris-1.0_b-") for name in names)


def inspected(**state: object) -> dict[str, Any]:
    created = config(workload(memory_mib=64))
    return {
        "Id": "f00d",
        "Name": "/longshore-iris-1-abcd",
        "Config": {"Labels": created["Labels"], "StopSignal": "SIGINT"},
        "HostConfig": created["HostConfig"],
        "State": {
            "Running": True,
            "Pid": 42,
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": "2026-11-24T02:31:40.800819136Z",
            **state,
        },
        "NetworkSettings": {
            "Ports": {
                "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "37689"}],
                "9090/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}],
            }
        },
    }


def test_running_container() -> None:
    assert parse_container(inspected()) == Container(
        id="f00d",
        name="longshore-iris-1-abcd",
        key=KEY,
        fingerprint=workload(memory_mib=64).fingerprint,
        lives=True,
        frozen=False,
        address=Address(host="127.0.0.1", port=37689),
        port=8080,
        health_path="/health",
        health_required=False,
        startup=300,
        read_only=True,
        writable_because="",
        memory_mib=64,
        pid=42,
        stop_signal=2,
        started_at=datetime(2026, 11, 24, 2, 31, 40, 800819, tzinfo=UTC),
        exit_code=None,
        oom_killed=False,
        error="",
    )


def test_a_paused_container_lives_and_is_the_same() -> None:
    paused = parse_container(inspected(Paused=True))
    assert (paused.lives, paused.frozen) == (True, True)
    assert paused == parse_container(inspected())


def test_exited_container() -> None:
    found = parse_container(
        inspected(Running=False, Pid=0, ExitCode=3, StartedAt="0001-01-01T00:00:00Z")
    )
    assert (found.lives, found.exit_code, found.address, found.started_at) == (False, 3, None, None)


@pytest.mark.parametrize(
    ("given", "number"), [("15", 15), ("SIGQUIT", 3), ("INT", 2), (None, 15), ("", 15), ("odd", 15)]
)
def test_stop_signals_of_both_engines(given: str | None, number: int) -> None:
    entry = inspected()
    entry["Config"]["StopSignal"] = given
    assert parse_container(entry).stop_signal == number


def test_listed_container() -> None:
    entry = {
        "Id": "f00d",
        "Names": ["/longshore-iris-1-abcd"],
        "State": "running",
        "Labels": config(workload())["Labels"],
        "Ports": [
            {"PrivatePort": 9090, "PublicPort": 1},
            {"PrivatePort": 8080, "PublicPort": 37689, "IP": "127.0.0.1"},
        ],
    }
    found = parse_listed(entry)
    assert found is not None
    assert found.look == ("running", 37689)
    assert found.lives
    assert not found.unstarted
    assert parse_listed({**entry, "Labels": {"io.longshore.owner": "me"}}) is None
