"""Telling the controller that leads what this process observes, once a second."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from pydantic import ValidationError

from longshore.core.background import beside
from longshore.core.leadership import KnowsLeader
from longshore.core.lease import Lease
from longshore.core.reports import EVERY, Reply, Report, Reports
from longshore.router.internal import LOADS

log = logging.getLogger(__name__)

WITHIN = 3.0
"""Seconds that a report may take; the next one has all that it had."""

SOON = 0.1
"""Seconds after which the leader is told that its replicas to leave alone are left alone."""


class Reporter:
    """Reports while another process leads.

    Args:
        reports: what there is to report, and where replies go.
        knows: who leads.
        router: id of this process.
        applied: returns the replicas that this process leaves alone by now.
        kick: called when there are others to leave alone.
        wants_sums: whether somebody asks this process for the sums of all routers.
    """

    def __init__(
        self,
        reports: Reports,
        knows: KnowsLeader,
        router: str,
        *,
        applied: Callable[[], Mapping[str, int]],
        kick: Callable[[], None],
        wants_sums: bool,
    ) -> None:
        self._reports = reports
        self._knows = knows
        self._router = router
        self._applied = applied
        self._kick = kick
        self._wants_sums = wants_sums
        self._soon = asyncio.Event()
        self._failing = False

    def hurry(self) -> None:
        """Report at once: a request is held that waits for a version to wake."""
        self._soon.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Report while the context is open, for a first time before it opens.

        Open it before there are routes: the leader then stops no replica without asking this
        process, and this process knows which ones are about to stop.
        """
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=WITHIN)
        ) as session:
            pause = await self._turn(session)
            async with beside({"reports to the leader": self._loop(session, pause)}):
                yield

    async def _loop(self, session: aiohttp.ClientSession, pause: float) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._soon.wait()
            self._soon.clear()
            pause = await self._turn(session)

    async def _turn(self, session: aiohttp.ClientSession) -> float:
        """Report if somebody leads; return after how many seconds to do so again."""
        leader = self._knows.leader()
        again_soon = leader and leader.address and await self._report(session, leader)
        return SOON if again_soon else EVERY

    async def _report(self, session: aiohttp.ClientSession, leader: Lease) -> bool:
        """Send a report; return whether the next one is to follow soon."""
        report = Report(
            router=self._router,
            loads=tuple(self._reports.own()),
            quiet=await self._reports.quiet(self._applied()),
            wants_sums=self._wants_sums,
        )
        headers = {
            "authorization": f"Bearer {leader.token.get_secret_value()}",
            "content-type": "application/json",
        }
        url = f"http://{leader.address}{LOADS}"
        try:
            async with session.post(
                url, data=report.model_dump_json(), headers=headers
            ) as response:
                response.raise_for_status()
                reply = Reply.model_validate_json(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValidationError) as error:
            if not self._failing:
                log.warning("the leader at %s takes no report: %s", leader.address, error)
            self._failing = True
            return False
        if self._failing:
            log.info("the leader at %s takes reports", leader.address)
        self._failing = False
        before = self._reports.retiring()
        self._reports.heard(reply)
        if reply.retiring == before:
            return False
        self._kick()
        return True
