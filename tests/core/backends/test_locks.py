"""One thing at a time is done to a version, and versions do not wait for each other."""

import asyncio
import gc

from longshore.core.backends.locks import Locks
from longshore.core.names import VersionKey

IRIS = VersionKey("iris", "1")
DIGITS = VersionKey("digits", "1")


class Steps:
    """Does things to versions, and remembers in which order."""

    def __init__(self) -> None:
        self.locks = Locks()
        self.told: list[str] = []

    async def take(self, name: str, key: VersionKey) -> None:
        async with self.locks.of(key):
            self.told.append(f"{name} begins")
            # Collected here, the lock would let the next one in.
            gc.collect()
            await asyncio.sleep(0.01)
            self.told.append(f"{name} ends")


async def test_things_done_to_one_version_wait_for_each_other() -> None:
    steps = Steps()
    await asyncio.gather(*(steps.take(name, IRIS) for name in "abc"))
    assert steps.told == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_versions_do_not_wait_for_each_other() -> None:
    steps = Steps()
    await asyncio.gather(steps.take("a", IRIS), steps.take("b", DIGITS))
    assert steps.told == ["a begins", "b begins", "a ends", "b ends"]


async def test_a_version_is_taken_while_something_is_done_to_it() -> None:
    steps = Steps()
    assert not steps.locks.taken(IRIS)
    taking = asyncio.create_task(steps.take("a", IRIS))
    await asyncio.sleep(0)
    assert steps.locks.taken(IRIS)
    assert not steps.locks.taken(DIGITS)
    await taking
    assert not steps.locks.taken(IRIS)


async def test_of_versions_to_which_nothing_is_done_none_is_kept() -> None:
    steps = Steps()
    for number in range(100):
        await steps.take("a", VersionKey("iris", str(number)))
    gc.collect()
    assert len(steps.locks) == 0


async def test_one_that_is_cut_off_lets_the_next_one_in() -> None:
    steps = Steps()
    first = asyncio.create_task(steps.take("a", IRIS))
    second = asyncio.create_task(steps.take("b", IRIS))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert steps.told == ["a begins", "b begins", "b ends"]
