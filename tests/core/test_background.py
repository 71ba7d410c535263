"""Work that goes on beside something else: it is kept, and cut off when its time is over."""

import asyncio
import gc
import logging
import weakref

import pytest

from longshore.core.background import Tasks, beside, survived
from longshore.core.errors import Refused, Unavailable


class Works:
    """Does something without end, and remembers what became of it."""

    def __init__(self, goodbye: float = 0) -> None:
        self.goodbye = goodbye
        self.told: list[str] = []

    async def on(self) -> None:
        self.told.append("began")
        try:
            # Nothing but its task keeps it.
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(self.goodbye)
            self.told.append("ended")


async def fails() -> None:
    raise ValueError("broken")


async def test_what_was_spawned_is_kept_until_it_ends() -> None:
    tasks, works = Tasks(), Works()
    tasks.spawn(works.on(), "some work")
    await asyncio.sleep(0)
    gc.collect()
    assert works.told == ["began"]
    assert len(tasks) == 1
    assert "some work" in {each.get_name() for each in asyncio.all_tasks()}
    await tasks.end()
    assert works.told == ["began", "ended"]


async def test_the_end_waits_for_goodbyes() -> None:
    tasks, quick, slow = Tasks(), Works(), Works(goodbye=0.05)
    for each in (quick, slow):
        tasks.spawn(each.on(), "work")
    await asyncio.sleep(0)
    await tasks.end()
    assert quick.told == slow.told == ["began", "ended"]
    assert len(tasks) == 0


async def test_what_is_done_is_let_go_of() -> None:
    class Held:
        """Something that work holds on to."""

    async def work(held: Held) -> None:
        await asyncio.sleep(0)

    tasks, held = Tasks(), Held()
    seen = weakref.ref(held)
    tasks.spawn(work(held), "work")
    del held
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert len(tasks) == 0
    assert seen() is None


async def test_nothing_to_end_is_silence_and_more_may_come() -> None:
    tasks, works = Tasks(), Works()
    await tasks.end()
    tasks.spawn(works.on(), "work")
    await asyncio.sleep(0)
    await tasks.end()
    await tasks.end()
    assert works.told == ["began", "ended"]


async def test_works_go_on_beside_until_the_context_closes() -> None:
    works = Works()
    async with beside({"work": works.on()}):
        await asyncio.sleep(0)
        assert works.told == ["began"]
    assert works.told == ["began", "ended"]


async def test_works_are_cut_off_whatever_closes_the_context() -> None:
    works = Works()

    async def failing() -> None:
        async with beside({"work": works.on()}):
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await failing()
    assert works.told == ["began", "ended"]


async def test_a_work_that_fails_ends_no_other_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    works = Works()
    async with beside({"bad": fails(), "work": works.on()}):
        await asyncio.sleep(0)
        assert works.told == ["began"]
    assert works.told == ["began", "ended"]
    gc.collect()
    assert "ValueError: broken" in caplog.text


LOG = logging.getLogger("longshore.core.test")


def test_a_round_that_fails_is_told_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Refused("not today")
    told.raised_by = "plugin strict in longshore_scale"
    done = 0
    for error in (Unavailable("the engine is away"), None, told, KeyError("x")):
        with survived(LOG, "the round failed"):
            if error:
                raise error
            done += 1
    assert done == 1
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "the round failed: the engine is away"),
        ("WARNING", "the round failed: not today (plugin strict in longshore_scale)"),
        ("ERROR", "the round failed"),
    ]
    assert "KeyError: 'x'" in caplog.text


async def test_a_round_that_is_cut_off_ends() -> None:
    async def rounds() -> None:
        while True:
            with survived(LOG, "the round failed"):
                await asyncio.sleep(60)

    task = asyncio.create_task(rounds())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
