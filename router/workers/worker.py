"""A worker's life: hear the table, take clients, tell what was counted, and stop in order."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from longshore.core.front import Front
from longshore.core.names import VersionKey
from longshore.core.types import Endpoint
from longshore.router.app import build_worker_app
from longshore.router.holding import HoldLimits
from longshore.router.routed import Replica
from longshore.router.server import serve_on
from longshore.router.table import Table
from longshore.router.uniform import MOST_BUFFERED
from longshore.router.workers.accept import Shares
from longshore.router.workers.counts import CONNECTIONS, CountedReplica, Counts
from longshore.router.workers.link import Link, first_of
from longshore.router.workers.messages import (
    Assignment,
    Leaving,
    Listening,
    Observation,
    Observed,
    Reached,
    Remove,
    Update,
    line,
    to_worker,
)
from longshore.router.workers.rest import to_parent_process

log = logging.getLogger(__name__)

REPORT_EVERY = 0.5
"""Seconds between reports of what was counted."""

MOST_IN_REPORT = 50
"""Versions in one line of a report; more go into further lines, and requests come in between."""

LAST_WORDS = 1.0
"""Seconds that a parent which does not listen gets to hear that the worker stops."""


async def work(assignment: Assignment, front: Front, settle: Callable[[], None]) -> None:
    """Carry requests until SIGTERM comes or the parent is gone.

    Args:
        assignment: what the parent gave.
        front: who may call, and how containers are called.
        settle: called when all is loaded, before the first request.
    """
    worker = _Worker(assignment, front)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop.set)
    link = await Link.over(_inherited(assignment.link))
    hearing = asyncio.create_task(worker.hear(link), name="table")
    try:
        await first_of(worker.knows_table, worker.stop)
        if not worker.stop.is_set():
            await _serve(worker, link, front, settle)
    finally:
        hearing.cancel()
        link.close()
    if worker.failed:
        sys.exit(1)


async def _serve(worker: "_Worker", link: Link, front: Front, settle: Callable[[], None]) -> None:
    assignment, settings = worker.assignment, front.settings
    rest = to_parent_process(assignment.rest, min(settings.max_body, MOST_BUFFERED))
    app = build_worker_app(front, worker.table, rest)
    shares = Shares(worker.counts.row(CONNECTIONS), assignment.column)
    listeners = [_inherited(each) for each in assignment.listeners]
    settle()
    async with rest.running():
        async with serve_on(app, listeners, grace=settings.grace, acceptor=shares.acceptor):
            shares.tell()
            await link.send(line(Listening()))
            reporting = asyncio.create_task(_report(worker, link, shares), name="reports")
            await worker.stop.wait()
            shares.stop()
            if not worker.failed:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(LAST_WORDS):
                        await link.send(line(Leaving()))
        reporting.cancel()
        # What was answered while it stopped counts, too.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await worker.report(link)


async def _report(worker: "_Worker", link: Link, shares: Shares) -> None:
    try:
        while True:
            shares.tell()
            worker.held.clear()
            await worker.report(link)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY):
                    # The parent has to know at once, for it wakes the version.
                    await worker.held.wait()
    except OSError:
        worker.stop.set()  # the parent is gone


class _Worker:
    def __init__(self, assignment: Assignment, front: Front) -> None:
        self.assignment = assignment
        self.counts = Counts(assignment.counts, assignment.columns)
        os.close(assignment.counts)
        limits = HoldLimits.of(front.settings)
        self.table = Table(front.hooks, replica=self._replica, hold=limits)
        self.table.on_held = self._on_held
        self.held = asyncio.Event()
        """Set when a request waits for a version that the parent may not know to be asked for."""
        self.stop = asyncio.Event()
        self.knows_table = asyncio.Event()
        self.failed = False
        """Whether it stops because something is wrong with it; it may have to be slowed down."""
        self._rows: dict[str, int] = {}
        self._told: dict[object, tuple[object, ...]] = {}
        """Of each version, what the last report said in short."""

    async def hear(self, link: Link) -> None:
        """Do what the parent says until it is gone, which ends the worker."""
        try:
            async for text in link.lines():
                message = to_worker.validate_json(text)
                if isinstance(message, Update):
                    self._rows = dict(message.rows)
                    await self.table.update(message.route)
                elif isinstance(message, Remove):
                    await self.table.remove(message.name)
                else:
                    await link.send(line(Reached(generation=message.generation)))
                    self.knows_table.set()
        except OSError:
            pass  # the parent is gone
        except Exception:
            self.failed = True
            log.exception("the table cannot be kept up to date")
        finally:
            self.stop.set()

    async def report(self, link: Link) -> None:
        """Tell the parent what was counted of the versions that had requests since last time."""
        changed = []
        there: dict[object, tuple[object, ...]] = {}
        for version in list(self.table.versions()):
            meter, shadow = version.meter, version.shadow_meter
            if meter.last_request is None and shadow is None:
                continue
            key = (version.key, version.route.version.created_at)
            there[key] = (meter.last_request, meter.last_answer, meter.answers.total(), meter.holds)
            if shadow:
                there[key] += (shadow.answers.total(), shadow.copies.total())
            if there[key] != self._told.get(key) or meter.in_flight or meter.waiting:
                changed.append(version)
        self._told = there
        for start in range(0, max(len(changed), 1), MOST_IN_REPORT):
            part = changed[start : start + MOST_IN_REPORT]
            await link.send(line(Observed(versions=tuple(map(Observation.of, part)))))
            await asyncio.sleep(0)

    def _on_held(self, key: VersionKey) -> None:
        """Let the parent know at once of the first request that waits, and of the others soon."""
        meter = self.table.version(key.name, key.version).meter
        if meter.waiting == 1:
            self.held.set()

    def _replica(self, endpoint: Endpoint) -> Replica:
        row = self._rows.get(endpoint.replica)
        if row is None:
            return Replica(endpoint)
        return CountedReplica(endpoint, self.counts.row(row), self.assignment.column)


def _inherited(fd: int) -> socket.socket:
    found = socket.socket(fileno=fd)
    found.setblocking(False)
    os.set_inheritable(fd, False)
    return found
