"""Which GPUs containers get: chosen from what the engine lists, as it would be after a restart."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from engine_cli import EngineCli
from parts.backends import Build, eventually, ready
from parts.hardware import A10, A100_80, ONNXRUNTIME, T4, labelled, node, planned, profile

from longshore.core.errors import WorkloadFailed
from longshore.core.names import VersionKey
from longshore.core.types import NodeProfile, Workload
from longshore.plugins.engine.backend import EngineBackend
from longshore.plugins.engine.gpus import (
    UNREAD,
    Allocator,
    Devices,
    choose,
    taken,
    with_devices,
)

TWO = [
    {"node": 0, "cpus": "0-3,8-11", "memory_mib": 4096},
    {"node": 1, "cpus": "4-7", "memory_mib": 4096},
]


def workload(gpus: int = 1, floor: int | None = None, **fields: Any) -> Workload:
    return Workload(
        key=VersionKey("iris", "1"),
        image="x",
        replicas=1,
        port=80,
        health_path="/",
        health_required=False,
        gpu_count=gpus,
        gpu_mem_floor_mib=floor,
        **fields,
    )


def machine(*places: int | None, numa: Sequence[Any] = TWO) -> NodeProfile:
    """Return a machine with a T4 on each of these NUMA nodes."""
    there = node(*[T4] * len(places), numa=list(numa))
    fact = there.facts["gpus"]
    assert isinstance(fact.value, list)
    placed = [
        {**each, "numa_node": place}
        for each, place in zip(fact.value, places, strict=True)
        if isinstance(each, dict)
    ]
    facts = {**there.facts, "gpus": fact.model_copy(update={"value": placed})}
    return there.model_copy(update={"facts": facts})


def near(gpus: tuple[str, ...], cpus: str, memory_nodes: str) -> Devices:
    return Devices(gpus, cpus=cpus, memory_nodes=memory_nodes)


def test_gpus_come_with_the_cpus_and_the_memory_near_them() -> None:
    assert choose(workload(), machine(1, 0), ()) == near(("GPU-0",), "4-7", "1")
    assert choose(workload(2), machine(0, 1, 0), ()) == near(("GPU-0", "GPU-2"), "0-3,8-11", "0")
    assert choose(workload(2), machine(0, 1), ()) == Devices(("GPU-0", "GPU-1"))
    assert choose(workload(), machine(None), ()) == Devices(("GPU-0",))
    assert choose(workload(), machine(0, numa=TWO[:1]), ()) == Devices(("GPU-0",))


@pytest.mark.parametrize(
    ("fields", "cpus", "memory_nodes"),
    [
        ({"cpu_millicores": 4000, "memory_mib": 4096}, "4-7", "1"),
        ({"cpu_millicores": 4001}, "", ""),
        ({"memory_mib": 4097}, "4-7", ""),
    ],
)
def test_what_is_near_must_be_enough(fields: dict[str, int], cpus: str, memory_nodes: str) -> None:
    chosen = choose(workload(**fields), machine(1, 0), ())
    assert chosen == near(("GPU-0",), cpus, memory_nodes)


def test_the_smallest_gpu_that_will_do_is_taken() -> None:
    there = node(A100_80, A10, T4)
    assert choose(workload(), there, ()).gpus == ("GPU-2",)
    assert choose(workload(floor=20000), there, ()).gpus == ("GPU-1",)
    assert choose(workload(floor=20000), there, {"GPU-1"}).gpus == ("GPU-0",)


def test_a_gpu_that_runs_none_of_the_code_is_passed_over() -> None:
    there = node(("Tesla V100", "7.0", 16384), A100_80)
    plan = planned(profile(ONNXRUNTIME), (there,), resources={"gpu": 1})
    asked = workload(affinity=plan.affinity)
    assert choose(asked, there, ()).gpus == ("GPU-1",)
    with pytest.raises(WorkloadFailed, match="1 GPU is needed, and 0 of 1 that will do"):
        choose(asked, there, {"GPU-1"})


def test_where_too_few_are_free_it_says_how_many() -> None:
    with pytest.raises(WorkloadFailed) as caught:
        choose(workload(2), node(T4, T4), {"GPU-1"})
    assert caught.value.message == "2 GPUs are needed, and 1 of 2 that will do are free"
    with pytest.raises(WorkloadFailed, match=r"1 GPU of 19\.5 GiB or more is needed, and 0 of 0"):
        choose(workload(floor=20000), node(T4), ())


def test_where_nobody_knows_the_gpus_the_engine_chooses_once() -> None:
    for there in (labelled(), node()):
        assert choose(workload(), there, ()) == Devices(unread=True)
        for held in ({UNREAD}, {"GPU-0"}):
            with pytest.raises(WorkloadFailed, match="which ones are free is not known"):
                choose(workload(), there, held)
    with pytest.raises(WorkloadFailed, match="which ones are free is not known"):
        choose(workload(), node(T4, T4), {UNREAD})


def test_what_runs_or_is_about_to_holds_its_gpus() -> None:
    def container(state: str, gpus: str) -> dict[str, Any]:
        return {"State": state, "Labels": {"io.longshore.gpus": gpus}}

    assert taken(
        [
            container("running", "a,b"),
            container("created", "c"),
            container("exited", "d"),
            {"State": "running", "Labels": None},
        ]
    ) == {"a", "b", "c"}


PLAIN = {
    "Image": "x",
    "Env": ["A=1"],
    "Labels": {"l": "1"},
    "HostConfig": {"DeviceRequests": [{"Driver": "nvidia", "Count": 1}], "NanoCpus": 1},
}


def test_a_container_gets_its_devices_and_sees_no_others() -> None:
    assert with_devices(PLAIN, near(("GPU-1", "GPU-2"), "4-7", "1")) == {
        "Image": "x",
        "Env": ["A=1", "CUDA_VISIBLE_DEVICES=GPU-1,GPU-2"],
        "Labels": {"l": "1", "io.longshore.gpus": "GPU-1,GPU-2"},
        "HostConfig": {
            "DeviceRequests": [
                {
                    "Driver": "nvidia",
                    "DeviceIDs": ["GPU-1", "GPU-2"],
                    "Capabilities": [["gpu"]],
                }
            ],
            "NanoCpus": 1,
            "CpusetCpus": "4-7",
            "CpusetMems": "1",
        },
    }
    assert with_devices(PLAIN, Devices()) == PLAIN
    unread = with_devices(PLAIN, Devices(unread=True))
    assert unread == {**PLAIN, "Labels": {"l": "1", "io.longshore.gpus": "unread"}}
    own = {**PLAIN, "Env": ["CUDA_VISIBLE_DEVICES=0"]}
    assert with_devices(own, Devices(("GPU-1",)))["Env"] == ["CUDA_VISIBLE_DEVICES=0"]


class Engine:
    """Lists the containers that were made."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    async def labelled(self, label: str) -> Sequence[dict[str, Any]]:
        await asyncio.sleep(0)
        return [each for each in self.made if label in each["Labels"]]

    async def start(self, allocator: Allocator, asked: Workload) -> tuple[str, ...]:
        async with allocator.chosen(asked) as devices:
            await asyncio.sleep(0)
            name = f"c{len(self.made)}"
            self.made.append({**with_devices(PLAIN, devices), "State": "running", "Id": name})
        return devices.gpus


async def test_containers_that_start_at_once_or_after_a_restart_share_no_gpu() -> None:
    async def profile() -> NodeProfile:
        return node(*[T4] * 4)

    engine = Engine()
    first = Allocator(engine, profile)
    at_once = await asyncio.gather(*(engine.start(first, workload()) for _ in range(3)))
    restarted = Allocator(engine, profile)
    last = await engine.start(restarted, workload())
    given = sorted(gpu for gpus in (*at_once, last) for gpu in gpus)
    assert given == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    with pytest.raises(WorkloadFailed, match="0 of 4 that will do are free"):
        await engine.start(restarted, workload())
    assert await engine.start(restarted, workload(0)) == ()
    engine.made[0]["State"] = "exited"
    assert await engine.start(restarted, workload()) == at_once[0]


@pytest.mark.parametrize(
    ("mine", "theirs", "shared"),
    [
        (Devices(("GPU-0",)), Devices(("GPU-0", "GPU-1")), True),
        (Devices(("GPU-0",)), Devices(("GPU-1",)), False),
        (Devices(("GPU-0",)), Devices(unread=True), True),
        (Devices(unread=True), Devices(("GPU-1",)), True),
        (Devices(unread=True), Devices(unread=True), True),
        (Devices(), Devices(("GPU-0",)), False),
    ],
)
async def test_of_two_that_chose_at_once_one_sees_the_other(
    mine: Devices, theirs: Devices, shared: bool
) -> None:
    async def profile() -> NodeProfile:
        return node(*[T4] * 2)

    engine = Engine()
    for name, devices in (("a", mine), ("b", theirs)):
        made = with_devices(PLAIN, devices)
        engine.made.append({**made, "State": "created", "Id": name})
    allocator = Allocator(engine, profile)
    assert await allocator.is_shared("a", mine) == shared
    engine.made[1]["State"] = "exited"
    assert not await allocator.is_shared("a", mine)


async def test_a_container_that_shares_a_gpu_never_starts(
    backend: EngineBackend,
    workload: Build,
    engine_cli: EngineCli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: list[str] = []

    async def is_shared(_: Allocator, container: str, devices: Devices) -> bool:
        met.append(container)
        return len(met) == 1

    monkeypatch.setattr(Allocator, "is_shared", is_shared)
    await backend.apply(workload())
    await eventually(backend, ready)
    there = set(engine_cli.run("ps", "--all", "--quiet", "--no-trunc").split())
    assert len(met) == 2
    assert met[0] not in there
    assert met[1] in there
