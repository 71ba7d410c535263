"""One leads, by the database's clock; and what routers read is counted."""

import asyncio
import subprocess
from collections.abc import Callable

import examples_of
import pytest

from longshore.core.errors import Deposed
from longshore.core.lease import CONTROLLER, Lease
from longshore.core.names import VersionKey
from longshore.core.types import Progress, State, TrafficRule, VersionStatus, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry

IRIS = VersionKey("iris", "1")


async def take(registry: SqlRegistry, holder: str, seconds: float = 60, **more: bool) -> Lease:
    return await registry.take_lease(
        CONTROLLER, holder, address=f"{holder}:1", seconds=seconds, **more
    )


async def test_a_lease_that_nobody_had_is_free(registry: SqlRegistry) -> None:
    found = await registry.lease(CONTROLLER)
    assert (found.holder, found.epoch, found.free) == ("", 0, True)


async def test_whoever_comes_first_has_it_until_it_ends_or_is_let_go(registry: SqlRegistry) -> None:
    first = await take(registry, "first")
    assert (first.holder, first.address, first.epoch, first.free) == ("first", "first:1", 1, False)
    assert 59 < first.expires_in <= 60
    assert len(first.token.get_secret_value()) > 30
    assert first.token.get_secret_value() not in repr(first)
    other = await take(registry, "second")
    assert (other.holder, other.epoch, other.token) == ("first", 1, first.token)

    # Renewed, it is the same one.
    again = await take(registry, "first", seconds=0.2)
    assert (again.epoch, again.token) == (1, first.token)
    await asyncio.sleep(0.25)
    assert (await registry.lease(CONTROLLER)).free
    second = await take(registry, "second")
    assert (second.holder, second.epoch) == ("second", 2)
    assert second.token != first.token

    await registry.release_lease(CONTROLLER, "first")
    assert not (await registry.lease(CONTROLLER)).free, "it is another's by now"
    await registry.release_lease(CONTROLLER, "second")
    released = await registry.lease(CONTROLLER)
    assert (released.free, released.address) == (True, "")
    assert (await take(registry, "third")).epoch == 3


async def test_one_that_is_known_to_be_dead_is_not_waited_for(registry: SqlRegistry) -> None:
    await take(registry, "dead")
    forced = await take(registry, "next", force=True)
    assert (forced.holder, forced.epoch) == ("next", 2)


async def test_of_twenty_at_once_one_gets_it(registry: SqlRegistry) -> None:
    found = await asyncio.gather(*(take(registry, str(number)) for number in range(20)))
    assert len({each.holder for each in found}) == 1
    assert {each.epoch for each in found} == {1}


async def test_of_six_processes_one_gets_it(
    url: str, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    registry = SqlRegistry(url)
    await registry.open()
    processes = [start_process("lead", url, str(number)) for number in range(6)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert said == {(await registry.lease(CONTROLLER)).holder + " 1"}
    await registry.close()


async def test_what_a_deposed_leader_found_is_not_written(registry: SqlRegistry) -> None:
    await registry.add_version(examples_of.version(), [])
    ready = {IRIS: VersionStatus(state=State.READY)}
    with pytest.raises(Deposed):
        await registry.save_status(ready, epoch=1)
    await take(registry, "first", seconds=0)
    # Its time is over, but nobody else acted since.
    await registry.save_status(ready, epoch=1)
    await take(registry, "second")
    failed = {IRIS: VersionStatus(state=State.FAILED, reason="as an old leader saw it")}
    with pytest.raises(Deposed, match="another process leads"):
        await registry.save_status(failed, epoch=1)
    assert (await registry.version(IRIS)).status.state is State.READY
    await registry.save_status(failed, epoch=2)
    assert (await registry.version(IRIS)).status.state is State.FAILED


async def test_the_revision_grows_with_what_routers_read_and_with_nothing_else(
    registry: SqlRegistry,
) -> None:
    seen = await registry.revision()

    async def grew() -> bool:
        nonlocal seen
        before, seen = seen, await registry.revision()
        return seen > before

    await registry.add_version(examples_of.version(), [])
    assert await grew()
    await registry.add_version(examples_of.version(), [])
    assert not await grew(), "it was there"
    await registry.set_traffic("iris", TrafficRule(weights={"1": 5}))
    assert await grew()
    await registry.set_wish(IRIS, Wish.SLEEP, "")
    assert await grew()
    await registry.set_wish(IRIS, Wish.SLEEP, "")
    assert not await grew(), "it is the same wish"
    pulling = VersionStatus(state=State.PULLING, progress=Progress(what="pulling", done=1))
    await registry.save_status({IRIS: pulling})
    assert await grew()
    further = Progress(what="pulling", done=2)
    await registry.save_status({IRIS: pulling.model_copy(update={"progress": further})})
    assert not await grew(), "callers are told nothing of progress"
    await registry.save_status({IRIS: pulling.model_copy(update={"reason": "slow"})})
    assert await grew()
    tried = pulling.model_copy(update={"reason": "slow", "retry_at": examples_of.NOON})
    await registry.save_status({IRIS: tried})
    assert await grew(), "callers are told when to come again"
    await take(registry, "first")
    assert not await grew()
    await registry.delete_version(IRIS)
    assert await grew()
    await registry.delete_version(IRIS)
    assert not await grew()
