"""Asking a container's health path where a kubelet cannot: where a missing path is no fault.

A kubelet takes every 404 for sickness. Such containers it only knocks at, and here the path is
asked until it answers well for the first time, or turns out not to be there.
"""

import asyncio
from collections.abc import Callable, Collection

import aiohttp
from yarl import URL

from longshore.core.background import cut_off
from longshore.core.types import Address
from longshore.plugins.kubernetes.kinds import Json
from longshore.plugins.kubernetes.labels import HEALTH_PATH, HEALTH_REQUIRED
from longshore.plugins.kubernetes.reasons import container_status

PAUSE = 1.0
TIMEOUT = 5.0
"""Seconds between two questions, and for an answer."""

_NO_SUCH_PATH = frozenset({404, 405, 501})


class HealthChecks:
    """Asks each container until it is healthy once.

    Args:
        changed: called when one turned out healthy, or when its fault changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._faults: dict[str, str] = {}
        """By pod and container; empty once it was healthy."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Stop asking."""
        await cut_off(self._tasks.values())
        if self._session:
            await self._session.close()

    def keep(self, uids: Collection[str]) -> None:
        """Forget all pods but these."""
        for which in [each for each in self._faults if each.partition(" ")[0] not in uids]:
            del self._faults[which]
            task = self._tasks.pop(which, None)
            if task:
                task.cancel()

    def fault(self, pod: Json, address: Address) -> str:
        """Return why a pod gets no requests yet though its port is open; empty if it may."""
        annotations = pod["metadata"].get("annotations") or {}
        if annotations.get(HEALTH_REQUIRED) != "false":
            return ""
        container = (container_status(pod) or {}).get("containerID", "")
        which = f"{pod['metadata']['uid']} {container}"
        return self.fault_of(which, annotations.get(HEALTH_PATH, "/health"), address)

    def fault_of(self, which: str, path: str, address: Address) -> str:
        """Return why a container gets no requests yet; empty if it may.

        Args:
            which: the pod's uid, and after a blank what tells its containers apart.
            path: its health path.
            address: where it listens.
        """
        if which not in self._faults:
            self._faults[which] = f"GET {path} was not answered yet"
            self._tasks[which] = asyncio.create_task(self._ask(which, path, address))
        return self._faults[which]

    async def _ask(self, which: str, path: str, address: Address) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                headers={"User-Agent": "longshore"},
            )
        url = URL(f"http://{address}{path}", encoded=True)
        while True:
            try:
                async with self._session.get(url, allow_redirects=False) as response:
                    status = response.status
            except TimeoutError:
                fault = f"GET {path} got no answer within {TIMEOUT:g} s"
            except (aiohttp.ClientError, OSError) as error:
                fault = f"GET {path} failed: {error}"
            else:
                well = 200 <= status < 300 or status in _NO_SUCH_PATH  # noqa: PLR2004 - success
                fault = "" if well else f"GET {path} answered {status}"
            if fault != self._faults.get(which):
                self._faults[which] = fault
                self._changed()
            if not fault:
                return
            await asyncio.sleep(PAUSE)
