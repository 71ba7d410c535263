"""What every backend promises, whatever it runs on: its tests derive a class from these."""

import asyncio
import http.client
import json
import urllib.request

import pytest
from parts.backends import IRIS, AnyBackends, Build, eventually, exited, ready, replicas

from longshore.core.errors import NotFound
from longshore.core.names import VersionKey
from longshore.core.protocols import Backend
from longshore.core.types import Address, Replica


def get(address: Address | None, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        content: bytes = answer.read()
        return content


class BackendPromises:
    """While all is well, and when containers are not."""

    async def test_a_replica_answers_where_it_says(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"COLOUR": "blue", "SIGN": "a=b c"}))
        (replica,) = await eventually(backend, ready)
        assert replica.address is not None
        assert replica.id.startswith("longshore-iris-1-")
        environment = json.loads(await asyncio.to_thread(get, replica.address, "/environment"))
        assert environment["COLOUR"] == "blue"
        assert environment["SIGN"] == "a=b c"

    async def test_apply_again_changes_nothing(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(replicas=2))
        before = await eventually(backend, ready)
        await backend.apply(workload(replicas=2))
        assert await replicas(backend) == before

    async def test_more_and_fewer(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload())
        (oldest,) = await eventually(backend, ready)
        await backend.apply(workload(replicas=3))
        three = await eventually(backend, lambda found: len(found) == 3 and ready(found))
        assert three[0] == oldest
        await backend.apply(workload(replicas=2))
        assert {each.id for each in await replicas(backend)} == {each.id for each in three[:2]}
        await backend.apply(workload(retire=(oldest.id,)))
        assert [each.id for each in await replicas(backend)] == [three[1].id]
        await backend.apply(workload(replicas=0))
        assert await replicas(backend) == ()

    async def test_another_fingerprint_replaces(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload())
        (before,) = await eventually(backend, ready)
        changed = workload(env={"COLOUR": "green"})
        await backend.apply(changed)
        await eventually(
            backend, lambda found: ready(found) and [each.id for each in found] != [before.id]
        )
        (after,) = await eventually(backend, lambda found: len(found) == 1)
        assert before.id != after.id
        (status,) = await backend.list()
        assert status.fingerprint == changed.fingerprint

    async def test_delete_twice(self, backend: Backend, workload: Build) -> None:
        other = VersionKey("iris", "2")
        await backend.apply(workload())
        await backend.apply(workload(key=other))
        await backend.delete(IRIS)
        assert [each.key for each in await backend.list()] == [other]
        await backend.delete(IRIS)

    async def test_another_longshore_adopts(self, backends: AnyBackends, workload: Build) -> None:
        first = await backends.open()
        await first.apply(workload(replicas=2))
        before = await eventually(first, ready)
        await first.close(stop_workloads=False)
        second = await backends.open()
        after = await eventually(second, ready, within=10)
        assert [each.model_dump() for each in after] == [each.model_dump() for each in before]
        await second.apply(workload(replicas=2))
        assert await replicas(second) == after

    async def test_watch_tells_of_readiness_and_death(
        self, backend: Backend, workload: Build
    ) -> None:
        hints = backend.watch()
        await backend.apply(workload())
        async with asyncio.timeout(30):
            while not ready(await replicas(backend)):
                await anext(hints)
        (replica,) = await replicas(backend)
        async with asyncio.timeout(10):
            with pytest.raises(http.client.RemoteDisconnected):
                await asyncio.to_thread(get, replica.address, "/die")
            while ready(await replicas(backend)):
                await anext(hints)

    async def test_logs_of_all_replicas(self, backend: Backend, workload: Build) -> None:
        with pytest.raises(NotFound):
            await anext(backend.logs(IRIS))
        await backend.apply(workload(replicas=2))
        await eventually(backend, ready)
        lines = [line async for line in backend.logs(IRIS)]
        assert sorted(lines) == ["behave listens"] * 2 + ["behave starts"] * 2
        assert len([line async for line in backend.logs(IRIS, tail=1)]) == 2

    async def test_logs_of_the_dead(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"EXIT": "1"}))
        await eventually(backend, exited)
        lines = [line async for line in backend.logs(IRIS)]
        assert lines[-1] == "last words: cannot find the model"

    async def test_logs_follow_new_replicas(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload())
        (replica,) = await eventually(backend, ready)
        lines: list[str] = []

        async def read() -> None:
            async for line in backend.logs(IRIS, tail=0, follow=True):
                lines.append(line)  # noqa: PERF401 - they are looked at while it goes on

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.5)
        with pytest.raises(http.client.RemoteDisconnected):
            await asyncio.to_thread(get, replica.address, "/die")
        await eventually(backend, lambda found: not ready(found))
        await backend.apply(workload())
        await eventually(backend, lambda _: "behave listens" in lines)
        reading.cancel()
        assert lines == ["dying as asked", "behave starts", "behave listens"]

    async def test_nodes(self, backend: Backend) -> None:
        (node,) = await backend.nodes()
        assert node.name
        assert node.architecture in {"amd64", "arm64"}
        assert node.cpu_millicores >= 1000
        assert node.memory_mib > 100

    async def test_exit_at_once(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"EXIT": "3"}))
        (replica,) = await eventually(backend, exited)
        assert replica.exit_code == 3
        assert replica.reason == (
            "exited with code 3; last line: last words: cannot find the model"
        )
        assert replica.log_tail == (
            "behave starts",
            "first line",
            "last words: cannot find the model",
        )

    async def test_exit_without_an_error(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"EXIT": "0"}))
        (replica,) = await eventually(backend, exited)
        assert replica.reason.startswith("exited with code 0")

    async def test_never_healthy(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"HEALTH": "500"}, startup=5))
        (replica,) = await eventually(backend, exited)
        assert replica.reason == "not ready within 5 s: GET /health answered 500"
        assert replica.log_tail == ("behave starts", "behave listens")
        assert (await replicas(backend))[0].reason == replica.reason

    async def test_path_that_is_not_there(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(health_path="/nowhere", startup=5))
        (replica,) = await eventually(backend, exited)
        assert replica.reason == "not ready within 5 s: GET /nowhere answered 404"

    async def test_path_that_need_not_be_there(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(health_path="/nowhere", health_required=False))
        await eventually(backend, ready)

    async def test_nothing_ever_listens(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"START_DELAY": "60"}, startup=1))
        (replica,) = await eventually(backend, exited)
        # Docker's proxy listens where nothing does.
        assert replica.reason in {
            "not ready within 1 s: connection refused on port 8080",
            "not ready within 1 s: connection closed without an answer on port 8080",
        }

    async def test_slow_start_is_not_hopeless(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"START_DELAY": "5"}))
        seen: list[Replica] = []

        def is_ready(found: tuple[Replica, ...]) -> bool:
            seen.extend(found)
            return ready(found)

        await eventually(backend, is_ready)
        assert not any(each.hopeless or each.reason for each in seen)

    async def test_out_of_memory(self, backend: Backend, workload: Build) -> None:
        await backend.apply(workload(env={"EAT": "200"}, memory_mib=64))
        (replica,) = await eventually(backend, exited)
        assert replica.exit_code == 137
        assert "out of memory" in replica.reason
        assert "64 MiB" in replica.reason

    async def test_read_only_root_is_given_up_where_it_must(
        self, backend: Backend, workload: Build, caplog: pytest.LogCaptureFixture
    ) -> None:
        wanted = workload(env={"WRITE": "/etc/behave"}, security={"run_as": 0})
        await backend.apply(wanted)
        (replica,) = await eventually(backend, ready)
        assert replica.reason == (
            "runs with a writable root file system, because it failed with a read-only one"
        )
        assert "starting it again with a writable root" in caplog.text
        # It is remembered: the next one starts that way at once, and is no surprise.
        await backend.apply(wanted.model_copy(update={"replicas": 2}))
        found = await eventually(backend, lambda found: len(found) == 2 and ready(found))
        assert replica.id in {each.id for each in found}

    async def test_writable_root_from_the_start(self, backend: Backend, workload: Build) -> None:
        root = {"run_as": 0}
        await backend.apply(
            workload(env={"WRITE": "/etc/behave"}, writable_root=True, security=root)
        )
        (replica,) = await eventually(backend, ready)
        assert replica.reason == ""

    async def test_failed_replica_is_replaced(self, backend: Backend, workload: Build) -> None:
        wanted = workload(env={"EXIT": "3"})
        await backend.apply(wanted)
        (first,) = await eventually(backend, exited)
        await backend.apply(wanted)
        (second,) = await eventually(backend, exited)
        assert first.id != second.id
