"""Inspecting the node that this process runs on, again and again, and telling it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from longshore.core.errors import Unavailable
from longshore.core.hooks import Hooks
from longshore.core.machine import this_node
from longshore.core.nodes import profile_node
from longshore.core.types import NodeReport, utc_now
from longshore.hardware.node.reported import NOT_REPORTED

if TYPE_CHECKING:
    from pydantic import JsonValue

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks; only what is new is told before its time."""

MISSES = 3
"""Reports that may fail in a row before what the last one told counts as old."""

_RESTLESS = frozenset({"memory_free_mib"})
"""Fields that change all the time, which is no news."""


class NodeReporter:
    """Tells what the node is at each change, and at least every so many seconds.

    Args:
        hooks: the plugins, which inspect.
        report: tells it; raises ``Unavailable`` where it cannot now.
        every: seconds.
    """

    def __init__(
        self, hooks: Hooks, report: Callable[[NodeReport], Awaitable[None]], every: float
    ) -> None:
        self._hooks = hooks
        self._report = report
        self._every = every
        self._told: JsonValue = None
        self._told_at = float("-inf")

    async def run(self) -> None:
        """Look and tell, until cancelled.

        Raises:
            StartRefused: there is nobody to tell it to.
        """
        while True:
            try:
                await self.once()
            except Unavailable as error:
                log.warning(
                    "what was read of this node could not be told: %s %s", error.message, error.hint
                )
            await asyncio.sleep(min(LOOK_EVERY, self._every))

    async def once(self) -> None:
        """Look, and tell if it is time or there is news.

        Raises:
            Unavailable: it could not be told.
        """
        profile, _ = await profile_node(self._hooks, this_node())
        read_at = utc_now()
        facts = {name: fact for name, fact in profile.facts.items() if name not in NOT_REPORTED}
        told = _settled({name: fact.model_dump(mode="json") for name, fact in facts.items()})
        due = time.monotonic() - self._told_at >= self._every
        if due or told != self._told:
            lasts = self._every * MISSES
            await self._report(NodeReport(facts=facts, read_at=read_at, lasts=lasts))
            log.info("told what this node is: %d facts", len(facts))
            self._told, self._told_at = told, time.monotonic()


def _settled(value: "JsonValue") -> "JsonValue":
    """Return a value without what is never at rest."""
    if isinstance(value, dict):
        return {name: _settled(each) for name, each in value.items() if name not in _RESTLESS}
    return [_settled(each) for each in value] if isinstance(value, list) else value
