"""Sentences for what goes wrong."""

from dataclasses import replace

import pytest

from longshore.core.backends.causes import is_read_only_error, start_failure
from longshore.core.names import VersionKey
from longshore.plugins.engine.containers import Container
from longshore.plugins.engine.diagnose import why_exited, wrong_port
from longshore.plugins.engine.kernel import Listening

ENDED = Container(
    id="f00d",
    name="longshore-iris-1-abcd",
    key=VersionKey("iris", "1"),
    fingerprint="f",
    lives=False,
    frozen=False,
    address=None,
    port=8080,
    health_path="/health",
    health_required=True,
    startup=300,
    read_only=True,
    writable_because="",
    memory_mib=None,
    pid=0,
    stop_signal=15,
    started_at=None,
    exit_code=1,
    oom_killed=False,
    error="",
)


@pytest.mark.parametrize(
    "line",
    [
        "ERROR (catatonit:6): failed to exec pid1: No such file or directory",
        "[FATAL tini (7)] exec python3 failed: No such file or directory",
    ],
)
def test_a_program_that_the_engines_init_cannot_run(line: str) -> None:
    ended = replace(ENDED, program="python3", exit_code=127)
    assert why_exited(ended, ("x", line), oom=False) == (
        "python3 cannot be run in the image: No such file or directory"
    )


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 30] Read-only file system: '/x'",
        "Error: EROFS: read-only file system, open '/x'",
        "open /x: read-only file system",
        "java.nio.file.FileSystemException: /x: Read-only file system",
        'Os { code: 30, kind: ReadOnlyFilesystem, message: "Read-only file system" }',
        "cannot write: (os error 30)",
    ],
)
def test_read_only_in_many_tongues(line: str) -> None:
    assert is_read_only_error(["starting", line])


@pytest.mark.parametrize("line", ["Permission denied: '/x'", "loaded 30 files", "HEROFS"])
def test_not_every_failure_is_read_only(line: str) -> None:
    assert not is_read_only_error([line])


@pytest.mark.parametrize(
    ("fields", "oom", "tail", "reason"),
    [
        ({}, False, ("a", "b", ""), "exited with code 1; last line: b"),
        ({"exit_code": 0}, False, (), "exited with code 0, and wrote nothing"),
        ({"exit_code": 137}, True, ("x",), "out of memory"),
        (
            {"exit_code": 137, "memory_mib": 64, "oom_killed": True},
            False,
            (),
            "out of memory: killed at its limit of 64 MiB",
        ),
        (
            {"exit_code": 137, "memory_mib": 64},
            False,
            (),
            (
                "killed by signal 9 (exit code 137), as happens out of memory: its limit is "
                "64 MiB, and wrote nothing"
            ),
        ),
        (
            {"exit_code": 127, "error": "no such\nfile"},
            False,
            (),
            "exited with code 127: no such file, and wrote nothing",
        ),
    ],
)
def test_why_exited(
    fields: dict[str, object], oom: bool, tail: tuple[str, ...], reason: str
) -> None:
    assert why_exited(replace(ENDED, **fields), tail, oom=oom) == reason  # type: ignore[arg-type] # fields of many types


@pytest.mark.parametrize(
    ("reachable", "loopback", "reason"),
    [
        ({8080}, {9999}, ""),
        ({8080}, {8080}, ""),
        ((), (), ""),
        ({9999, 81}, (), "nothing listens on port 8080; the container listens on 81, 9999"),
        (
            {9999},
            {8080},
            (
                "the container listens on port 8080 of its own loopback only, where nothing "
                "reaches it; let it listen on 0.0.0.0"
            ),
        ),
    ],
)
def test_wrong_port(reachable: set[int], loopback: set[int], reason: str) -> None:
    assert wrong_port(8080, Listening(frozenset(reachable), frozenset(loopback))) == reason


def test_unknown_ports_prove_nothing() -> None:
    assert wrong_port(8080, None) == ""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('exec: "serve": executable file not found in $PATH', "the command 'serve' cannot be run"),
        ("exec /server: exec format error", "another kind of processor"),
        ("something odd", "the engine could not start it: something odd"),
    ],
)
def test_start_failures(message: str, reason: str) -> None:
    assert reason in start_failure(message, ["serve"]).message
