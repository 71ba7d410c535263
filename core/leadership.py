"""Which of several controllers leads: the one that holds a lease in the registry.

The lease lasts by the database's clock, and whoever holds it acts for a shorter time by a clock of
its own, counted from before it asked. So it has stopped before anybody else can begin, whatever
happens to it meanwhile: the database goes away, or the process stands still for a while.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from longshore.core.background import beside
from longshore.core.errors import Deposed, LongshoreError, Unavailable
from longshore.core.lease import CONTROLLER, Lease
from longshore.core.protocols import Registry

log = logging.getLogger(__name__)

LASTS = 10.0
"""Seconds that the lease lasts without being renewed."""

MARGIN = 2.0
"""Seconds before its end from which on its holder acts no more."""

RENEW_EVERY = 3.0
LOOK_EVERY = 1.0
"""Seconds between two questions of the holder, and of those who would follow it."""

LAST_WORD = 5.0
"""Seconds that a question which is under way gets at the end."""


def now_with_sleep() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leads(Protocol):
    """Whether this process may act."""

    @property
    def leads(self) -> bool:
        """Whether it leads at this very moment."""

    @property
    def epoch(self) -> int | None:
        """That of its lease; None where there is no lease."""


class Alone:
    """The leadership of a controller that has no colleagues."""

    leads = True
    epoch: int | None = None


ALONE = Alone()


def must_lead(leadership: Leads) -> None:
    """Do nothing where this process may act.

    Raises:
        Deposed: another one leads by now.
    """
    if not leadership.leads:
        raise Deposed("left to another controller, which leads by now")


class KnowsLeader(Protocol):
    """Who leads, if it is another process."""

    def leader(self) -> Lease | None:
        """Return the lease that another process had when it was last looked; None for nobody."""


class Leadership:
    """Takes the lease, renews it, and says from moment to moment whether it may be acted on.

    Args:
        registry: has the lease.
        force: take it at the first try even from another, who is known to be gone.
        clock: seconds that nobody sets; another one in tests.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        force: bool = False,
        clock: Callable[[], float] = now_with_sleep,
    ) -> None:
        self.holder = uuid.uuid4().hex
        """What this process is called in the lease."""
        self._registry = registry
        self._force = force
        self._clock = clock
        self._address = ""
        self._lease: Lease | None = None
        self._until = float("-inf")
        self._led = False
        self._away = False
        self._listeners: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._soon = asyncio.Event()
        self._over = False

    @property
    def leads(self) -> bool:
        """Whether this process may act at this very moment."""
        return self._clock() < self._until

    @property
    def epoch(self) -> int | None:
        """That of the lease as it was last seen."""
        return self._lease.epoch if self._lease else None

    @property
    def token(self) -> str:
        """What colleagues have to show this process; empty where it does not lead."""
        return self._lease.token.get_secret_value() if self._lease and self.leads else ""

    def leader(self) -> Lease | None:
        """Return who leads instead of this process; None where it leads itself, or nobody does."""
        lease = self._lease
        return None if lease is None or lease.free or lease.holder == self.holder else lease

    def listen(self, changed: Callable[[], None]) -> None:
        """Have a function called whenever this process begins or ceases to lead."""
        self._listeners.append(changed)

    def announce(self, address: str) -> None:
        """Tell colleagues where this process answers HTTP: ``host:port``."""
        self._address = address
        self._soon.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Try to lead while the context is open, for a first time before it opens."""
        await self._turn()
        keeping = asyncio.create_task(self._keep(), name="leadership")
        try:
            yield
        finally:
            self._over = True
            self._soon.set()
            # A question that was cut off might still be carried out, after the lease was let go.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD):
                    await keeping
            self._until = float("-inf")
            self._see()

    async def release(self) -> None:
        """Let others lead at once; to be called when all that was begun has ended."""
        with contextlib.suppress(LongshoreError):
            await self._registry.release_lease(CONTROLLER, self.holder)

    async def _keep(self) -> None:
        while not self._over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY if self.leads else LOOK_EVERY):
                    await self._soon.wait()
            self._soon.clear()
            if not self._over:
                await self._turn()

    async def _turn(self) -> None:
        asked = self._clock()
        try:
            lease = await self._registry.take_lease(
                CONTROLLER,
                self.holder,
                address=self._address,
                seconds=LASTS,
                force=self._force,
            )
        except Exception as error:  # noqa: BLE001 - logged there; the next turn must come
            self._complain(error)
        else:
            self._force = self._away = False
            mine = lease.holder == self.holder
            self._until = asked + LASTS - MARGIN if mine else float("-inf")
            self._lease = lease
        self._see()

    def _see(self) -> None:
        """Tell it at once if this process began or ceased to lead."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        left = self._until - self._clock()
        if left > 0:
            # Before anything else that waited, if the process stood still for longer than that.
            self._timer = asyncio.get_running_loop().call_later(left, self._see)
        if self.leads is self._led:
            return
        self._led = not self._led
        if self._led:
            log.info("this process leads (epoch %s)", self.epoch)
        elif not self._over:
            leader = self.leader()
            instead = f"{leader.address or leader.holder} does" if leader else "nobody is known to"
            log.warning("this process leads no more; %s", instead)
        for changed in self._listeners:
            changed()

    def _complain(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            if isinstance(error, Unavailable):
                log.warning("the lease cannot be renewed: %s", error.message)
            else:
                # A registry is a plugin: its bug must not end the loop.
                log.error("the lease cannot be renewed", exc_info=error)


class Lookout:
    """Who leads, as a process sees it that never does.

    Args:
        registry: has the lease.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lease: Lease | None = None

    def leader(self) -> Lease | None:
        """Return the lease as it was last seen, if somebody had it then."""
        return None if self._lease is None or self._lease.free else self._lease

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look again and again while the context is open, for a first time before it opens."""
        await self._look()
        async with beside({"lookout": self._go_on()}):
            yield

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._look()

    async def _look(self) -> None:
        # While SQL is away, whoever was seen last may well lead on.
        with contextlib.suppress(Unavailable):
            self._lease = await self._registry.lease(CONTROLLER)
