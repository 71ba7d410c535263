"""Whether a replica is ready: asked over HTTP, because an open port proves nothing.

Docker's proxy accepts connections for containers in which nothing listens.
"""

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from yarl import URL

from longshore.core.types import ReplicaState, utc_now
from longshore.plugins.engine.containers import Container
from longshore.plugins.engine.diagnose import wrong_port
from longshore.plugins.engine.kernel import listening

WHILE_STARTING = 0.02
"""Seconds between probes of a replica that starts, at first: requests may be waiting for it."""

STARTING_PROBES = 500
"""Probes a second of all replicas together, if all of them start."""

WHILE_READY = 3.0
"""Seconds between probes of a ready replica, while there are few."""

PROBES_A_SECOND = 10
"""Of ready replicas, all together: a thousand of them must not cost a core."""

SICK_AFTER = 3
"""How many probes in a row a ready replica must fail."""

STARTING_TIMEOUT = 2.0
READY_TIMEOUT = 10.0
"""Seconds for an answer; a busy server may be late and is not sick for that."""

PORT_PATIENCE = 3.0
"""Seconds after which a port where nothing listens is looked into."""

_NO_SUCH_PATH = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Health:
    """What probing found last."""

    state: ReplicaState = ReplicaState.STARTING
    reason: str = ""
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe found; an empty ``fault`` means healthy."""

    fault: str = ""
    connected: bool = True


class Probe:
    """Follows the health of one replica until it is cancelled.

    Args:
        session: for the requests; must not keep connections, of which some servers serve one.
        container: the replica.
        changed: called after each change of ``health``.
        give_up: called once, with the last fault, if it is not ready in time.
        count: how many replicas are probed in all, which sets the pace.
        now: the clock that the engine's start times go by.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        container: Container,
        *,
        changed: Callable[[], None],
        give_up: Callable[[str], Awaitable[None]],
        count: Callable[[], int],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._session = session
        self._container = container
        self._changed = changed
        self._give_up = give_up
        self._count = count
        started = container.started_at or now()
        age = max(0.0, (now() - started).total_seconds())
        self._started = asyncio.get_running_loop().time() - age
        # One that outlived its time to start must have been ready for a Longshore before us.
        self._overdue = age > container.startup
        self.was_ready = self._overdue
        self.health = Health()
        self._task = asyncio.create_task(self._run(), name=f"probe {container.name}")

    def cancel(self) -> None:
        """Stop probing."""
        self._task.cancel()

    async def _run(self) -> None:
        fault = await self._until_ready()
        if fault:
            await self._give_up(fault)
            return
        self.was_ready = True
        faults = 0
        while True:
            await asyncio.sleep(self._pause(faults))
            answer = await self._ask(READY_TIMEOUT)
            faults = faults + 1 if answer.fault else 0
            if not faults:
                self._set(Health(ReplicaState.READY))
            elif faults >= SICK_AFTER:
                self._set(Health(ReplicaState.UNREADY, answer.fault))

    def _pause(self, faults: int) -> float:
        if faults:
            return 1.0
        pause = max(WHILE_READY, self._count() / PROBES_A_SECOND)
        # Spread out, or replicas that started together would be asked together for ever.
        return pause * random.uniform(0.9, 1.1)  # noqa: S311 - no secret

    async def _until_ready(self) -> str:
        """Probe until the replica is ready; return the last fault if it is not in time."""
        loop = asyncio.get_running_loop()
        while True:
            answer = await self._ask(STARTING_TIMEOUT)
            if not answer.fault:
                self._set(Health(ReplicaState.READY))
                return ""
            age = loop.time() - self._started
            if age > self._container.startup and not self._overdue:
                return answer.fault
            fault = ""
            if not answer.connected and age > PORT_PATIENCE:
                found = listening(self._container.pid, self._container.id)
                fault = wrong_port(self._container.port, found)
            if fault:
                self._set(Health(self.health.state, fault, hopeless=True))
            elif self._overdue:
                self._set(Health(ReplicaState.UNREADY, answer.fault))
            else:
                self._set(Health())
            # Nothing that takes minutes to start is noticed a second late.
            pause = max(WHILE_STARTING, self._count() / STARTING_PROBES, age / 50)
            await asyncio.sleep(min(pause, 1.0))

    def _set(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self._changed()

    async def _ask(self, timeout: float) -> Answer:  # noqa: ASYNC109 - aiohttp's own
        container = self._container
        if container.address is None:
            return Answer("the engine published no port", connected=False)
        url = URL(f"http://{container.address}{container.health_path}", encoded=True)
        try:
            async with self._session.get(
                url, timeout=aiohttp.ClientTimeout(total=timeout), allow_redirects=False
            ) as response:
                status = response.status
        except TimeoutError:
            return Answer(f"GET {container.health_path} got no answer within {timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return _no_answer(error, container.port)
        healthy = 200 <= status < 300 or (  # noqa: PLR2004 - success in HTTP
            status in _NO_SUCH_PATH and not container.health_required
        )
        return Answer("" if healthy else f"GET {container.health_path} answered {status}")


def _no_answer(error: aiohttp.ClientError | OSError, port: int) -> Answer:
    if isinstance(error, aiohttp.ClientResponseError):
        return Answer(f"port {port} answers, but not in HTTP")
    if isinstance(error, aiohttp.ClientConnectorError):
        if error.os_error.errno == errno.ECONNREFUSED:
            return Answer(f"connection refused on port {port}", connected=False)
        return Answer(f"port {port}: {error.os_error.strerror}", connected=False)
    # What Docker's proxy does when nothing listens behind it.
    return Answer(f"connection closed without an answer on port {port}", connected=False)
