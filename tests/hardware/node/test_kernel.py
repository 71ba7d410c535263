"""Trees as the kernel would make them, and the ones of this very machine."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from longshore.core.types import Confidence, Evidence
from longshore.hardware.node import files
from longshore.hardware.node.cpu import cpu_facts, level
from longshore.hardware.node.facts import Unread, read
from longshore.hardware.node.limits import Groups, limit_facts
from longshore.hardware.node.numa import numa

V1_UNLIMITED = "9223372036854771712"


def tree(root: Path, held: Mapping[str, str]) -> Path:
    for name, text in held.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def limits(root: Path) -> dict[str, Evidence]:
    return limit_facts(Groups(root / "cgroup", root / "proc"), lambda: {0, 1, 2, 5})


def values(facts: Mapping[str, Evidence]) -> dict[str, object]:
    return {name: fact.value for name, fact in facts.items()}


@pytest.mark.parametrize(
    ("listed", "numbers"),
    [("0", [0]), ("0-2,8", [0, 1, 2, 8]), ("", []), ("3,1", [1, 3]), ("0-0,2-3\n", [0, 2, 3])],
)
def test_lists_of_numbers(listed: str, numbers: list[int]) -> None:
    assert files.parse(listed) == numbers
    assert files.parse(files.listed(numbers)) == numbers


@pytest.mark.parametrize("listed", ["x", "1-", "-1", "3-1", "0-9999999", "0-999999", "1 2"])
def test_what_is_no_list(listed: str) -> None:
    with pytest.raises(ValueError, match="no list of numbers"):
        files.parse(listed)


def test_lists_are_written_as_the_kernel_does() -> None:
    assert files.listed([8, 0, 1, 2, 10, 11]) == "0-2,8,10-11"


# --- what this process may use ----------------------------------------------------------------


def test_no_control_groups(tmp_path: Path) -> None:
    facts = limits(tmp_path)
    assert values(facts) == {
        "cpuset": "0-2,5",
        "cpu_quota_millicores": None,
        "memory_limit_mib": None,
        "cpu_limit_millicores": 4000,
    }
    # Not knowing of a limit is not the same as having none.
    assert facts["cpu_quota_millicores"].confidence is Confidence.UNKNOWN
    assert "has no group with the controller memory" in facts["memory_limit_mib"].source
    assert facts["cpu_limit_millicores"].confidence is Confidence.INFERRED
    assert facts["cpuset"].source == "sched_getaffinity, as no control group tells"


def test_version_2_with_limits_on_the_way_up(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app.slice/longshore.service",
            "cgroup/cgroup.controllers": "cpuset cpu io memory pids",
            "cgroup/cpuset.cpus.effective": "0-63",
            "cgroup/app.slice/cpu.max": "150000 100000",
            "cgroup/app.slice/memory.max": "max",
            "cgroup/app.slice/cpuset.cpus.effective": "0-7",
            "cgroup/app.slice/longshore.service/cpu.max": "300000 100000",
            "cgroup/app.slice/longshore.service/memory.max": str(3 << 30),
        },
    )
    facts = limits(tmp_path)
    assert values(facts) == {
        "cpuset": "0-7",
        "cpu_quota_millicores": 1500,
        "memory_limit_mib": 3072,
        "cpu_limit_millicores": 1500,
    }
    assert {each.confidence for each in facts.values()} == {Confidence.EXACT}
    assert facts["cpu_quota_millicores"].source == str(tmp_path / "cgroup/app.slice/cpu.max")


@pytest.mark.parametrize("outside", ["/../../kubepods/pod1/container1", "/..", "/kubepods/pod1"])
def test_version_2_in_a_container_which_is_its_own_root(tmp_path: Path, outside: str) -> None:
    tree(
        tmp_path,
        {
            # As seen from outside of its namespace, or of its mount.
            "proc/self/cgroup": f"0::{outside}",
            "cpu.max": "1000 100000",  # nothing outside of the mount counts
            "cgroup/cgroup.controllers": "cpuset cpu memory",
            "cgroup/cpu.max": "50000 100000",
            "cgroup/memory.max": str(512 << 20),
            "cgroup/cpuset.cpus.effective": "3",
        },
    )
    assert values(limits(tmp_path)) == {
        "cpuset": "3",
        "cpu_quota_millicores": 500,
        "memory_limit_mib": 512,
        "cpu_limit_millicores": 500,
    }


def test_version_2_on_the_machine_itself(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "cgroup/cgroup.controllers": "cpuset cpu memory",
            "cgroup/cpuset.cpus.effective": "0-3",
        },
    )
    facts = limits(tmp_path)
    assert facts["cpu_quota_millicores"].value is None
    assert facts["cpu_quota_millicores"].confidence is Confidence.EXACT
    assert facts["cpu_limit_millicores"].value == 4000
    assert facts["cpu_limit_millicores"].confidence is Confidence.EXACT


def test_version_1(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker",
            "cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000",
            "cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            # Its own group is the root here, whatever /proc calls it.
            "cgroup/memory/memory.limit_in_bytes": str(1 << 30),
            "cgroup/cpuset/docker/cpuset.cpus": "0-1",
        },
    )
    assert values(limits(tmp_path)) == {
        "cpuset": "0-1",
        "cpu_quota_millicores": 2500,
        "memory_limit_mib": 1024,
        "cpu_limit_millicores": 2000,
    }


def test_version_1_without_limits(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "2:memory:/\n1:cpu:/",
            "cgroup/cpu/cpu.cfs_quota_us": "-1",
            "cgroup/cpu/cpu.cfs_period_us": "100000",
            "cgroup/memory/memory.limit_in_bytes": V1_UNLIMITED,
        },
    )
    facts = limits(tmp_path)
    assert facts["memory_limit_mib"].value is None
    assert facts["cpu_quota_millicores"].value is None
    assert {each.confidence for each in facts.values()} == {Confidence.EXACT}


def test_both_versions_at_once(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:memory:/\n2:cpu:/a\n0::/b",
            "cgroup/unified/cgroup.controllers": "memory",
            "cgroup/unified/b/memory.max": str(2 << 30),
            "cgroup/memory/memory.limit_in_bytes": str(1 << 30),
            "cgroup/cpu/a/cpu.cfs_quota_us": "100000",
            "cgroup/cpu/a/cpu.cfs_period_us": "100000",
        },
    )
    facts = limits(tmp_path)
    # Each controller is in one of the two alone: memory in version 2 here, and the CPU in 1.
    assert facts["memory_limit_mib"].value == 2048
    assert facts["cpu_quota_millicores"].value == 1000


@pytest.mark.parametrize("held", ["", "max", "ten 100000", "100000 0", "\x00"])
def test_a_quota_that_makes_no_sense_is_unknown(tmp_path: Path, held: str) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a",
            "cgroup/cgroup.controllers": "cpu",
            "cgroup/a/cpu.max": held,
        },
    )
    quota = limits(tmp_path)["cpu_quota_millicores"]
    assert quota.confidence is Confidence.UNKNOWN
    assert "cpu.max holds something else than expected" in quota.source


def test_a_file_that_must_not_be_read_is_unknown(tmp_path: Path) -> None:
    tree(tmp_path, {"cgroup/cgroup.controllers": "memory", "proc/self/cgroup": "0::/a"})
    # As root may read everything, a folder stands for what nobody may read.
    (tmp_path / "cgroup/a/memory.max").mkdir(parents=True)
    limit = limits(tmp_path)["memory_limit_mib"]
    assert limit.confidence is Confidence.UNKNOWN
    assert "memory.max cannot be read: Is a directory" in limit.source


# --- NUMA --------------------------------------------------------------------------------------


def meminfo(node: int, kibibytes: int) -> str:
    return f"Node {node} MemTotal:       {kibibytes} kB\nNode {node} MemFree:        1024 kB"


def test_two_numa_nodes(tmp_path: Path) -> None:
    folder = "devices/system/node"
    tree(
        tmp_path,
        {
            f"{folder}/online": "0-1",
            f"{folder}/node0/cpulist": "0-15,32-47",
            f"{folder}/node0/meminfo": meminfo(0, 264000000),
            f"{folder}/node0/distance": "10 21",
            # Memory alone, as some GPUs and memory cards bring.
            f"{folder}/node10/cpulist": "",
            f"{folder}/node10/distance": "21 10",
        },
    )
    assert numa(tmp_path).value == [
        {
            "node": 0,
            "cpus": "0-15,32-47",
            "memory_mib": 257812,
            "distances": [10, 21],
            "unread": {},
        },
        {
            "node": 10,
            "cpus": "",
            "memory_mib": None,
            "distances": [21, 10],
            "unread": {"memory_mib": f"{tmp_path}/{folder}/node10/meminfo is not there"},
        },
    ]


def test_no_numa_nodes(tmp_path: Path) -> None:
    unknown = read(lambda: numa(tmp_path))
    assert unknown.confidence is Confidence.UNKNOWN
    assert unknown.source == f"{tmp_path}/devices/system/node is not there"
    (tmp_path / "devices/system/node").mkdir(parents=True)
    with pytest.raises(Unread, match="has no nodes"):
        numa(tmp_path)


# --- CPUs --------------------------------------------------------------------------------------

V1 = "fpu cx8 cmov mmx fxsr sse sse2 syscall lm"
V2 = f"{V1} cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(("flags", "reached"), [(V1, "v1"), (V2, "v2"), (V3, "v3"), (V4, "v4")])
def test_levels(flags: str, reached: str) -> None:
    assert level(flags.split()) == reached
    # A level needs the ones below it, and all of its own.
    assert level([each for each in V4.split() if each != "popcnt"]) == "v1"
    assert level([each for each in V4.split() if each != "avx512vl"]) == "v3"


def test_cpus_of_two_kinds(tmp_path: Path) -> None:
    processors = [
        f"processor\t: {number}\nmodel name\t: Small\nflags\t\t: {flags}\n"
        for number, flags in enumerate((V3, V4, V4, V4))
    ]
    topology = {
        f"sys/devices/system/cpu/cpu{number}/topology/{name}": str(value)
        for number in range(4)
        for name, value in (("physical_package_id", 0), ("core_id", number // 2))
    }
    tree(
        tmp_path,
        {
            "proc/cpuinfo": "\n".join(processors),
            "sys/devices/system/cpu/online": "0-3",
            "sys/devices/system/cpu/cpufreq/boost": "1",
            **topology,
        },
    )
    facts = cpu_facts(tmp_path / "sys", tmp_path / "proc", "amd64")
    assert facts["cpu_flags"].value == sorted(V3.split())
    told = values(facts)
    del told["cpu_flags"]
    assert told == {
        "cpu_architecture": "amd64",
        "cpu_model": "Small",
        "cpu_level": "v3",
        "cpu_logical": 4,
        "cpu_physical": 2,
    }


def test_cpus_of_arm(tmp_path: Path) -> None:
    cpuinfo = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve\nCPU part\t: 0xd40\n"
    tree(tmp_path, {"cpuinfo": f"{cpuinfo}\n"})
    facts = cpu_facts(tmp_path, tmp_path, "arm64")
    assert facts["cpu_flags"].value == ["asimd", "fp", "sve"]
    assert facts["cpu_level"].source == "only amd64 has levels"
    assert facts["cpu_model"].confidence is Confidence.UNKNOWN
    assert facts["cpu_logical"].value == 1
    assert facts["cpu_physical"].confidence is Confidence.UNKNOWN


def test_no_cpus_to_read(tmp_path: Path) -> None:
    facts = cpu_facts(tmp_path, tmp_path, "amd64")
    assert facts.pop("cpu_architecture").value == "amd64"
    assert {each.confidence for each in facts.values()} == {Confidence.UNKNOWN}
    assert all(each.value is None for each in facts.values())


# --- this machine ------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc: this is no Linux")
def test_this_machine() -> None:
    facts = cpu_facts(Path("/sys"), Path("/proc"), os.uname().machine)
    facts |= limit_facts(Groups(Path("/sys/fs/cgroup"), Path("/proc")))
    logical = facts["cpu_logical"].value
    assert logical == os.cpu_count()
    allowed = files.parse(str(facts["cpuset"].value))
    assert os.sched_getaffinity(0) <= set(allowed)
    limit = facts["cpu_limit_millicores"].value
    assert isinstance(limit, int)
    assert 0 < limit <= len(allowed) * 1000
    memory = files.mebibytes(Path("/proc/meminfo"), "MemTotal")
    assert memory > 100
