"""Where an engine is looked for, and what Podman's service is started with."""

from pathlib import Path

import pytest

from longshore.core.errors import StartRefused
from longshore.plugins.engine.connect import Candidate, candidates
from longshore.plugins.engine.service import containers_conf, socket_path

HOME = Path("/home/ada")


def test_usual_places_in_order() -> None:
    assert [str(each.path) for each in candidates(None, {}, HOME, 1000)] == [
        "/var/run/docker.sock",
        "/home/ada/.docker/run/docker.sock",
        "/home/ada/.docker/desktop/docker.sock",
        "/run/user/1000/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/1000/podman/podman.sock",
    ]


@pytest.mark.parametrize(
    ("named", "environment", "expected"),
    [
        ("/a.sock", {"DOCKER_HOST": "unix:///b.sock"}, "socket of the plugin engine"),
        (None, {"DOCKER_HOST": "unix:///b.sock", "CONTAINER_HOST": "unix:///c"}, "DOCKER_HOST"),
        (None, {"DOCKER_HOST": "", "CONTAINER_HOST": "unix:///c.sock"}, "CONTAINER_HOST"),
    ],
)
def test_what_is_named_is_the_only_choice(
    named: str | None, environment: dict[str, str], expected: str
) -> None:
    (candidate,) = candidates(named, environment, HOME, 1000)
    assert candidate.source == expected


def test_socket_may_be_a_plain_path() -> None:
    assert candidates("/run/x.sock", {}, HOME, 0) == [
        Candidate(Path("/run/x.sock"), "socket of the plugin engine")
    ]


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.1:2375", "ssh://ada@far", "docker.sock", "npipe:"]
)
def test_engines_elsewhere_are_refused(address: str) -> None:
    with pytest.raises(StartRefused, match="is no Unix socket of this machine") as refused:
        candidates(None, {"DOCKER_HOST": address}, HOME, 0)
    assert refused.value.message.startswith("DOCKER_HOST")


def test_containers_conf_only_where_needed() -> None:
    limits = {"nofile": 20000, "nproc": 32768}
    assert not containers_conf(may_raise_limits=True, hard_limits=limits, needs_runc=False)
    assert containers_conf(may_raise_limits=False, hard_limits=limits, needs_runc=True) == (
        "[containers]\n"
        'default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n'
        "[engine]\n"
        'runtime = "runc"\n'
    )


def test_a_long_tmpdir_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    path = socket_path(long / "state")
    try:
        assert not path.is_relative_to(tmp_path)
        assert len(str(path)) < len(str(long))
    finally:
        path.parent.rmdir()


def test_socket_path_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_path(tmp_path) == tmp_path / "podman.sock"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = socket_path(tmp_path / ("x" * 100))
    assert path.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path == socket_path(tmp_path / ("x" * 100))
    assert path != socket_path(tmp_path / ("y" * 100))
    path.parent.chmod(0o777)
    with pytest.raises(StartRefused, match="somebody else"):
        socket_path(tmp_path / ("x" * 100))
