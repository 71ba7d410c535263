"""Waiting for a slot on the long way: in the queue that ``holding`` keeps for both ways."""

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING

from longshore.core.errors import LongshoreError
from longshore.router.admission import Slot
from longshore.router.errors import Busy, NotReady
from longshore.router.holding import Outcome, may_wait

if TYPE_CHECKING:
    from longshore.router.client import Client
    from longshore.router.holding import Held
    from longshore.router.routed import RoutedVersion
    from longshore.router.table import Table


async def admitted(table: "Table", version: "RoutedVersion", client: "Client") -> Slot:
    """Return a slot for a request on the long way; wait for it where it may hope for one.

    Args:
        table: where the version is.
        version: where the request goes.
        client: who asks; whoever leaves gives its place up.

    Raises:
        NotReady: the version has no replica, and none is on its way.
        Busy: no replica has a free slot.
        Waking: one is on its way, and the request waited too long, or found too much waiting.
        ClientLeft: nobody waits for the answer any more.
    """
    with contextlib.suppress(NotReady, Busy):
        return Slot(table, version)
    slot: Slot | None = None
    held: Held | None = None
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    try:
        async with client.attached():
            # By then it is known how much of it was read, and whether the client leaves.
            size = await client.first() if may_wait(version) else 0
            try:
                slot = Slot(table, version)
            except (NotReady, Busy) as error:
                tell = functools.partial(_settle, outcome)
                held = table.holding.enter(version, size, tell, error)
                slot = _slot_of(await outcome)
    except BaseException:
        if held:
            held.leave()
        elif slot:
            slot.give_back()
        raise
    return slot


async def elsewhere(slot: Slot, why: LongshoreError, since: float) -> None:
    """Wait until a request whose connection no replica took has a slot on another one.

    Nothing of it was sent.

    Args:
        slot: the request's; while it waits, the slot rests.
        why: how the last replica failed it; raised where it is not to wait.
        since: when the request came, in seconds since the epoch.

    Raises:
        LongshoreError: as given; or why there will be none.
    """
    slot.rest()
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    tell = functools.partial(_settle, outcome)
    held = slot.table.holding.enter(slot.version, 0, tell, why, refused_since=since)
    try:
        slot.go_on(_slot_of(await outcome))
    except BaseException:
        held.leave()
        raise


def _settle(outcome: "asyncio.Future[Outcome]", what: Outcome) -> None:
    if not outcome.done():
        outcome.set_result(what)


def _slot_of(outcome: Outcome) -> Slot:
    if isinstance(outcome, Slot):
        return outcome
    raise outcome
