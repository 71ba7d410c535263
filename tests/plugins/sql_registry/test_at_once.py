"""Several at once, and death at every moment."""

import asyncio
import subprocess
from collections.abc import Callable

import examples_of
import pytest

from longshore.core.errors import Conflict, NotFound
from longshore.core.names import VersionKey
from longshore.core.types import Event, Load, State, VersionStatus, Wish
from longshore.plugins.sql_registry.registry import SqlRegistry

Start = Callable[..., subprocess.Popen[str]]

IRIS = VersionKey("iris", "1")


def together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let processes do at once what they are ready for; return what each said."""
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0].strip() for process in processes]


async def test_of_twenty_with_different_content_one_wins(registry: SqlRegistry) -> None:
    async def attempt(most: int) -> int | None:
        try:
            assert await registry.add_version(examples_of.version(scaling={"max": most}), [])
        except Conflict:
            return None
        return most

    winners = [each for each in await asyncio.gather(*map(attempt, range(1, 21))) if each]
    assert len(winners) == 1
    stored = await registry.version(IRIS)
    assert stored.version.spec.scaling.max == winners[0]


async def test_of_twenty_with_the_same_content_one_stores_it(registry: SqlRegistry) -> None:
    same = [registry.add_version(examples_of.version(), []) for _ in range(20)]
    assert sorted(await asyncio.gather(*same)) == [False] * 19 + [True]
    assert len((await registry.model("iris")).versions) == 1


async def test_twenty_versions_of_a_new_model_all_get_in(registry: SqlRegistry) -> None:
    versions = [examples_of.version(number=str(number)) for number in range(20)]
    added = await asyncio.gather(*(registry.add_version(version, []) for version in versions))
    assert all(added)
    assert len((await registry.model("iris")).versions) == 20


async def test_registering_and_deleting_at_once_leaves_no_half(registry: SqlRegistry) -> None:
    async def come_and_go(number: str) -> None:
        for _ in range(10):
            await registry.add_version(examples_of.version(number=number), [])
            await registry.delete_version(VersionKey("iris", number))

    await asyncio.gather(*(come_and_go(str(number)) for number in range(6)))
    assert await registry.models() == []


async def test_everything_at_once_fails_nobody(registry: SqlRegistry) -> None:
    keys = [VersionKey("iris", str(number)) for number in range(10)]
    for key in keys:
        await registry.add_version(examples_of.version(number=key.version), [])

    async def wish(key: VersionKey) -> None:
        for each in (Wish.SLEEP, Wish.RUN, Wish.SLEEP):
            await registry.set_wish(key, each, "")

    ready = VersionStatus(state=State.READY)
    await asyncio.gather(
        *(wish(key) for key in keys),
        *(registry.save_status(dict.fromkeys(order, ready)) for order in (keys, keys[::-1]) * 5),
        *(
            registry.save_loads([Load(key=key) for key in order])
            for order in (keys, keys[::-1]) * 5
        ),
        *(registry.add_events([Event(kind="ready", key=key, message="")]) for key in keys),
        *(registry.models() for _ in range(10)),
    )
    records = (await registry.model("iris")).versions
    assert {(each.wish, each.status) for each in records} == {(Wish.SLEEP, ready)}


async def test_of_two_processes_one_wins(url: str, start_process: Start) -> None:
    registry = SqlRegistry(url)
    await registry.open()
    for _ in range(3):
        said = together([start_process("register", url, most) for most in "12"])
        assert sorted(said) == ["added", "conflict"]
        stored = await registry.version(IRIS)
        assert str(stored.version.spec.scaling.max) == "12"[said.index("added")]
        await registry.delete_version(IRIS)
    await registry.close()


def test_processes_that_open_a_new_database_at_once_agree(url: str, start_process: Start) -> None:
    said = together([start_process("open", url) for _ in range(6)])
    assert len(said[0]) == 32
    assert set(said) == {said[0]}


@pytest.mark.parametrize(
    "after",
    [
        "INSERT INTO models",
        "INSERT INTO versions",
        "INSERT INTO placements",
        "INSERT INTO decisions",
        "everything",
    ],
)
async def test_killed_in_mid_registration_nothing_is_registered(
    url: str, start_process: Start, after: str
) -> None:
    registry = SqlRegistry(url)
    await registry.open()
    process = start_process("die", url, after)
    assert together([process]) == [""]
    assert process.returncode == -9
    with pytest.raises(NotFound):
        await registry.model("iris")
    # Neither is anything locked.
    assert await registry.add_version(examples_of.version(), [])
    assert len((await registry.model("iris")).versions) == 1
    await registry.close()
