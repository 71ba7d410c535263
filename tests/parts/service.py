"""A Service of a cluster whose nodes carry none: connections are shared out as a node would."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from parts.kubectl import Kubectl
from parts.tcp_proxy import TcpProxy

LOOK_EVERY = 2
"""Seconds; so long may it take a node, and a load balancer before it, to hear of a change."""


class Service(TcpProxy):
    """Shares connections out among a Service's ready pods; those that are open stay where they are.

    Args:
        kubectl: knows the cluster.
        name: the Service's.
    """

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        super().__init__("", 0)
        self._kubectl = kubectl
        self._name = name
        self._turns = itertools.count()
        self._ready: list[tuple[str, int]] = []

    def there(self) -> tuple[str, int]:
        """Return one of the pods."""
        if not self._ready:
            raise ConnectionRefusedError(f"no pod of {self._name} is ready")
        return self._ready[next(self._turns) % len(self._ready)]

    def look(self) -> None:
        """Find out which pods are ready."""
        selector = f"--selector=kubernetes.io/service-name={self._name}"
        # Assigned at once: the event loop reads it meanwhile.
        self._ready = list(_ready(self._kubectl.get("endpointslices", selector)["items"]))


def _ready(slices: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    for each in slices:
        (port,) = [port["port"] for port in each["ports"]]
        for endpoint in each.get("endpoints") or ():
            if endpoint["conditions"].get("ready"):
                yield endpoint["addresses"][0], port


@contextmanager
def service(kubectl: Kubectl, name: str) -> Iterator[str]:
    """Give the URL of a Service while the context is open."""
    proxy, opened, over = Service(kubectl, name), threading.Event(), threading.Event()
    proxy.look()

    async def serve() -> None:
        async with proxy:
            opened.set()
            while not over.is_set():
                await asyncio.to_thread(proxy.look)
                await asyncio.sleep(LOOK_EVERY)

    serving = threading.Thread(target=lambda: asyncio.run(serve()))
    serving.start()
    try:
        assert opened.wait(10)
        yield f"http://127.0.0.1:{proxy.port}"
    finally:
        over.set()
        serving.join()
