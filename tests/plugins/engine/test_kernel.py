"""What /proc tells; on a made-up /proc for each case, and on the real one."""

import os
from pathlib import Path

import pytest

from longshore.plugins.engine.kernel import Listening, ignores, listening, oom_killed

CONTAINER = "ab" * 32

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:0051 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 3
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A 0:0 00:0 0
   1: 00000000000000000000000001000000:2329 00000000000000000000000000000000:0000 0A 0:0 00:0 0
   2: 0000000000000000FFFF00000100007F:232A 00000000000000000000000000000000:0000 0A 0:0 00:0 0
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "7/net").mkdir(parents=True)
    (tmp_path / "7/cgroup").write_text(f"0::/machine.slice/libpod-{CONTAINER}.scope\n")
    (tmp_path / "7/net/tcp").write_text(TCP)
    (tmp_path / "7/net/tcp6").write_text(TCP6)
    return tmp_path


def test_listening_ports(proc: Path) -> None:
    assert listening(7, CONTAINER, proc) == Listening(
        reachable=frozenset({8080, 9000}), loopback_only=frozenset({80, 9001, 9002})
    )


def test_another_process_is_unknown(proc: Path) -> None:
    assert listening(7, "cd" * 32, proc) is None
    assert listening(8, CONTAINER, proc) is None
    assert listening(0, CONTAINER, proc) is None
    assert listening(os.getpid(), CONTAINER) is None


@pytest.mark.parametrize(
    ("nspid", "caught", "blocked", "expected"),
    [
        ("7\t1", 0, 0, True),
        ("7\t1", 1 << 14, 0, False),
        ("7\t1", 0, 1 << 14, False),
        ("7\t1", 1 << 13, 0, True),
        ("7\t12", 0, 0, False),
    ],
)
def test_signals_that_do_nothing(
    proc: Path, nspid: str, caught: int, blocked: int, expected: bool
) -> None:
    (proc / "7/status").write_text(
        f"Name:\tpython3\nNSpid:\t{nspid}\nSigBlk:\t{blocked:016x}\nSigCgt:\t{caught:016x}\n"
    )
    assert ignores(7, CONTAINER, 15, proc) is expected
    assert ignores(7, "cd" * 32, 15, proc) is False


@pytest.mark.parametrize(
    ("name", "children", "expected"),
    [
        ("catatonit", {"9": 1 << 14}, True),
        ("catatonit", {"9": 0}, False),
        ("docker-init", {"9": 1 << 14, "10": 0}, False),
        ("catatonit", {}, False),
        ("python3", {"9": 1 << 14}, False),
    ],
)
def test_signals_that_an_init_passes_on_in_vain(
    proc: Path, name: str, children: dict[str, int], expected: bool
) -> None:
    (proc / "7/status").write_text(f"Name:\t{name}\nNSpid:\t7\t1\nSigBlk:\t{1 << 14:016x}\n")
    (proc / "7/task/7").mkdir(parents=True)
    (proc / "7/task/7/children").write_text(" ".join(children) + " ")
    for child, ignored in children.items():
        (proc / child).mkdir()
        (proc / child / "status").write_text(f"Name:\tpython3\nSigIgn:\t{ignored:016x}\n")
    assert ignores(7, CONTAINER, 15, proc) is expected


def test_no_container_was_killed_that_never_was() -> None:
    assert oom_killed(CONTAINER) is False
