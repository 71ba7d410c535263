"""One worker process, as the parent sees it: how it is started, heard, watched and ended."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence

from longshore.router.workers.broadcast import Broadcast, Subscriber
from longshore.router.workers.link import Link
from longshore.router.workers.messages import (
    Assignment,
    Leaving,
    Listening,
    Observed,
    Reached,
    to_parent,
)

log = logging.getLogger(__name__)

Command = Callable[[Assignment], Sequence[str]]
"""Makes the command line that starts a worker."""

SILENCE = 10
"""Seconds after which a worker that says nothing, or does not listen, is replaced."""

STARTS_WITHIN = 60
"""Seconds that a worker may take until it takes connections."""

LAST_WORDS = 5.0
"""Seconds to read what a process that ended had still said."""


class WorkerProcess:
    """A process and the link to it.

    Args:
        number: which of the workers it is.
        column: where it counts.
        broadcast: what it has to hear.
    """

    def __init__(self, number: int, column: int, broadcast: Broadcast) -> None:
        self.number = number
        self.column = column
        self.listening = asyncio.Event()
        self.going = asyncio.Event()
        """Set once it takes no connections any more: asked to stop, or ended."""
        self.ended = asyncio.Event()
        self.asked = False
        """Whether its end was in order."""
        self._broadcast = broadcast
        self._popen: subprocess.Popen[bytes]
        self._heard = False
        self._sending = 0
        """Seconds since which it reads nothing of the line that is being sent."""

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    def start(self, command: Command, assignment: Assignment, inherited: Sequence[int]) -> None:
        """Start the process; ``run`` does the rest.

        Args:
            command: starts it.
            assignment: what it is to do, without the link.
            inherited: file descriptors that the assignment names.

        Raises:
            OSError: it cannot be started.
        """
        self._end, theirs = socket.socketpair()
        self._end.setblocking(False)
        with theirs:
            given = assignment.model_copy(update={"link": theirs.fileno()})
            self._popen = subprocess.Popen(  # noqa: S603 - our own program
                command(given),
                stdin=subprocess.DEVNULL,
                pass_fds=[*inherited, theirs.fileno()],
                # Ctrl-C in a terminal reaches all of a group, and it is the parent that decides.
                process_group=0,
            )

    async def run(self) -> None:
        """Go along with the process until it ended; cancelled, kill it."""
        subscriber = self._broadcast.join(self.number)
        tasks: list[asyncio.Task[None]] = []
        link: Link | None = None
        try:
            link = await Link.over(self._end)
            hearing = asyncio.create_task(self._hear(link, subscriber))
            tasks += [hearing, asyncio.create_task(self._tell(link, subscriber))]
            tasks.append(asyncio.create_task(self._watch()))
            await self._wait()
            await asyncio.wait([hearing], timeout=LAST_WORDS)
        finally:
            if self._popen.poll() is None:
                self._popen.kill()
                self._popen.wait()
            for each in tasks:
                each.cancel()
            (link or self._end).close()
            self._broadcast.leave(subscriber, self.column)
            self.going.set()
            self.ended.set()

    def stop(self) -> None:
        """Ask it to finish what runs and end."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)

    def how(self) -> str:
        """Tell how it ended."""
        status = self._popen.returncode
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    async def _wait(self) -> None:
        """Wait for the end of the process, without asking again and again."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        watched = os.pidfd_open(self._popen.pid)
        try:
            loop.add_reader(watched, ended.set)
            await ended.wait()
            self._popen.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)

    async def _hear(self, link: Link, subscriber: Subscriber) -> None:
        async for text in link.lines():
            self._heard = True
            message = to_parent.validate_json(text)
            if isinstance(message, Observed):
                for each in message.versions:
                    self._broadcast.observed(subscriber, each)
            elif isinstance(message, Reached):
                subscriber.reached = message.generation
            elif isinstance(message, Listening):
                self.listening.set()
            elif isinstance(message, Leaving):
                self.asked = True
                self.going.set()

    async def _tell(self, link: Link, subscriber: Subscriber) -> None:
        with contextlib.suppress(OSError):
            async for text in subscriber.lines():
                self._sending = 1
                await link.send(text)
                self._sending = 0

    async def _watch(self) -> None:
        """Kill it when it is stuck.

        Seconds are counted, not read off a clock: a parent that was stopped itself, and goes on,
        should not think that everybody else was.
        """
        silent = 0
        while True:
            await asyncio.sleep(1)
            silent = 0 if self._heard else silent + 1
            self._heard = False
            self._sending += self._sending > 0
            limit = SILENCE if self.listening.is_set() else STARTS_WITHIN
            if max(silent, self._sending) > limit:
                log.error(
                    "router worker %d (process %d) has been stuck for %d s and is replaced",
                    self.number,
                    self.pid,
                    limit,
                )
                self._popen.kill()
                return
