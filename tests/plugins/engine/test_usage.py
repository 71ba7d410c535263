"""What containers use: of real ones on the engine, and of control groups as kernels make them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_cli import EngineCli
from parts import nvml_stub
from parts.backends import IRIS, Build, eventually, ready

from longshore.core.errors import Unavailable
from longshore.core.measures import usage_of
from longshore.core.names import VersionKey
from longshore.hardware.node.plugin import Plugin
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.containers import Container
from longshore.plugins.engine.gpus import GPUS
from longshore.plugins.engine.usage import in_stats, use_of
from longshore.plugins.engine.wire import EngineError

ID = "c0ffee" * 10
MIB = 1 << 20
V2 = {"memory.current": str(300 * MIB), "memory.stat": f"anon 1\ninactive_file {100 * MIB}\n"}
V1 = {
    "memory.usage_in_bytes": str(300 * MIB + 1),
    "memory.stat": f"inactive_file 0\ntotal_inactive_file {100 * MIB}\n",
}


@pytest.mark.engine
async def test_what_a_container_allocates_is_measured_and_cached_files_are_not(
    backend: EngineBackend, workload: Build, engine_cli: EngineCli
) -> None:
    writes = {"writable_root": True, "security": {"capabilities": ["DAC_OVERRIDE"]}}
    await backend.apply(workload(env={"EAT": "200"}, replicas=2, **writes))
    first, _ = await eventually(backend, lambda found: len(found) == 2 and ready(found))
    before = await backend.measured([IRIS, VersionKey("gone", "1")])
    assert list(before) == [IRIS]
    assert len(before[IRIS]) == 2
    for use in before[IRIS]:
        assert use.memory_mib is not None, use.unread
        assert 200 <= use.memory_mib < 320
        assert (use.gpus, use.gpus_unread, use.processes) == ((), "", frozenset())
    engine_cli.run(
        "exec", first.id, "python3", "-c", f"open('/cached', 'wb').write(bytes({400 * MIB}))"
    )
    after = await backend.measured([IRIS])
    assert max(use.memory_mib or 0 for use in after[IRIS]) < 400


@pytest.mark.engine
async def test_gpu_memory_is_that_of_the_containers_processes_by_nvml(
    backend: EngineBackend, workload: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, gpu = nvml_stub.build(tmp_path), "GPU-11111111-1111-1111-1111-111111111111"
    # As if the engine had given it one.
    await backend.apply(workload(labels={GPUS: gpu}))
    await eventually(backend, ready)
    [use] = (await backend.measured([IRIS]))[IRIS]
    assert use.gpus == (gpu,)
    assert use.processes, "it is on this machine"
    own = next(iter(use.processes))
    names = {each: (Path("/proc") / str(each) / "cmdline").read_bytes() for each in use.processes}
    assert any(b"server.py" in name for name in names.values())

    async def told(runs: str, fail: str = "") -> tuple[int | None, str]:
        nvml_stub.use(monkeypatch, library, runs=runs, fail=fail)
        usage = usage_of([use], await Plugin().longshore_measure_gpus())
        return usage.gpu_memory_mib, usage.gpu_memory_unread

    assert await told(f"GPU-1={own}:2048 GPU-1=1:500") == (2048, "")
    assert await told(f"GPU-1={own}:-") == (81559, "")
    known, why = await told(f"GPU-1={own}:- GPU-1=1:500")
    assert known is None
    assert why.startswith(f"others use the GPU {gpu}, too")
    known, why = await told("GPU-1=1:500")
    assert (known, why) == (None, f"none of its processes uses the GPU {gpu}")
    known, why = await told("", fail="nvmlInitWithFlags=9")
    assert known is None
    assert why.endswith("NVML: nvmlInit: Driver Not Loaded")


@pytest.mark.engine
async def test_what_is_not_ready_is_not_measured(backend: EngineBackend, workload: Build) -> None:
    await backend.apply(workload(env={"HEALTH": "503"}))
    await eventually(backend, lambda found: len(found) == 1)
    assert await backend.measured([IRIS]) == {}
    await backend.close(stop_workloads=True)
    with pytest.raises(Unavailable):
        await backend.measured([IRIS])


class Stats(Client):
    """An engine that tells this, and nothing else."""

    def __init__(self, answer: dict[str, Any] | Exception | None = None) -> None:
        self._answer = answer

    async def stats(self, container: str) -> dict[str, Any] | None:
        assert container == ID
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def container(**fields: Any) -> Container:
    told: dict[str, Any] = dict.fromkeys(Container.__dataclass_fields__)
    return Container(
        **told | {"id": ID, "key": IRIS, "pid": 7, "gpus": (), "gpu_count": 0} | fields
    )


Machine = Callable[..., tuple[Path, Path]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Makes /proc of a process in a group, and the group with these files."""

    def make(lines: str, group: str, files: dict[str, str]) -> tuple[Path, Path]:
        proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "7").mkdir(parents=True)
        (proc / "7" / "cgroup").write_text(lines)
        folder = cgroup / group
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        return proc, cgroup

    return make


@pytest.mark.parametrize(
    ("lines", "group", "files", "mib"),
    [
        (f"0::/machine/libpod-{ID}.scope\n", f"machine/libpod-{ID}.scope", V2, 200),
        # Its first process is in a group inside, as systemd makes them.
        (f"0::/docker/{ID}/init.scope\n", f"docker/{ID}", V2, 200),
        (f"4:memory:/docker/{ID}\n0::/docker/{ID}\n", f"memory/docker/{ID}", V1, 201),
        (f"4:cpu,memory:/x/{ID}\n", f"cpu,memory/x/{ID}", V1, 201),
        (f"0::/docker/{ID}\n", f"unified/docker/{ID}", V2, 200),
    ],
)
async def test_groups_of_both_versions_are_found_and_read(
    machine: Machine, lines: str, group: str, files: dict[str, str], mib: int
) -> None:
    proc, cgroup = machine(lines, group, files)
    use = await use_of(Stats(), container(), proc=proc, cgroup=cgroup)
    assert (use.memory_mib, use.unread) == (mib, "")


async def test_the_processes_of_a_container_with_gpus_are_told_with_those_inside(
    machine: Machine,
) -> None:
    files = {**V2, "cgroup.procs": "7\n8\n", "init.scope/cgroup.procs": "9\n"}
    proc, cgroup = machine(f"0::/docker/{ID}\n", f"docker/{ID}", files)
    has = container(gpus=("GPU-0", "GPU-1"), gpu_count=2)
    use = await use_of(Stats(), has, proc=proc, cgroup=cgroup)
    assert (use.gpus, use.gpus_unread) == (("GPU-0", "GPU-1"), "")
    assert use.processes == {7, 8, 9}
    chosen = await use_of(Stats(), container(gpu_count=1), proc=proc, cgroup=cgroup)
    assert chosen.gpus_unread == "the engine chose its GPUs, and does not tell which"
    assert chosen.processes == frozenset()


async def test_a_group_that_cannot_be_read_is_unknown_with_the_reason(machine: Machine) -> None:
    broken = {"memory.current": "many", "memory.stat": ""}
    proc, cgroup = machine(f"0::/docker/{ID}\n", f"docker/{ID}", broken)
    use = await use_of(Stats(), container(), proc=proc, cgroup=cgroup)
    assert use.memory_mib is None
    assert f"docker/{ID} cannot be read: invalid literal" in use.unread


async def test_of_a_container_that_this_machine_does_not_show_the_engine_is_asked(
    machine: Machine,
) -> None:
    # The process of that number is somebody else's.
    proc, cgroup = machine("0::/user.slice\n", "user.slice", V2)

    async def asked(answer: dict[str, Any] | Exception | None) -> tuple[int | None, str]:
        use = await use_of(Stats(answer), container(), proc=proc, cgroup=cgroup)
        return use.memory_mib, use.unread

    docker = {"usage": 300 * MIB, "stats": {"inactive_file": 100 * MIB}}
    assert await asked({"memory_stats": docker}) == (200, "")
    # So Podman's answers look.
    known, why = await asked({"memory_stats": {"usage": 300 * MIB, "limit": 1}})
    assert known is None
    assert "does not tell how much memory it uses without cached files" in why
    known, why = await asked(EngineError(500, "no such luck"))
    assert (known, why) == (None, "the container engine does not tell: no such luck")
    assert (await asked(Unavailable("it is away")))[1].endswith("does not tell: it is away")
    assert (await asked(None))[0] is None


@pytest.mark.parametrize(
    "odd", [{}, {"memory_stats": {}}, {"memory_stats": None}, {"memory_stats": 3}]
)
def test_stats_that_say_nothing_are_unknown(odd: dict[str, Any]) -> None:
    assert in_stats(odd)[0] is None
