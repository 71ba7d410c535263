"""A Service of a cluster whose nodes carry none: connections are shared out as a node would."""

import asyncio
import itertools
import json
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from parts.kubectl import Kubectl
from parts.tcp_proxy import TcpProxy

DELAY = 2
"""Seconds; so long may it take a node, and a load balancer before it, to hear of a change."""


class Service(TcpProxy):
    """Shares connections out among a Service's ready pods; those that are open stay where they are.

    Args:
        kubectl: knows the cluster.
        name: the Service's.
    """

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        super().__init__("", 0)
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{kubectl.namespace}/endpointslices"
        of_it = f"labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        self.watch = ("kubectl", "get", "--raw", f"{slices}?watch=1&{of_it}")
        """The command that tells of each change, a line of JSON for each."""
        self._name = name
        self._turns = itertools.count()
        self._ready: list[tuple[str, int]] = []

    def there(self) -> tuple[str, int]:
        """Return one of the pods."""
        if not self._ready:
            raise ConnectionRefusedError(f"no pod of {self._name} is ready")
        return self._ready[next(self._turns) % len(self._ready)]

    def follow(self, told: Iterable[str], known: threading.Event) -> None:
        """Hear which pods are ready, each time some seconds late; tell when some are first."""
        slices: dict[str, list[tuple[str, int]]] = {}
        for line in told:
            change = json.loads(line)
            gone = change["type"] == "DELETED"
            slices[change["object"]["metadata"]["name"]] = (
                [] if gone else list(_ready(change["object"]))
            )
            ready = [each for of_slice in slices.values() for each in of_slice]
            if known.is_set():
                threading.Timer(DELAY, self._hear, [ready]).start()
            elif ready:
                self._hear(ready)
                known.set()

    def _hear(self, ready: list[tuple[str, int]]) -> None:
        self._ready = ready


def _ready(of_slice: dict[str, Any]) -> Iterator[tuple[str, int]]:
    # One without endpoints has no ports either.
    port = next(iter(of_slice.get("ports") or ()), None)
    for each in of_slice.get("endpoints") or ():
        if port and each["conditions"].get("ready"):
            yield each["addresses"][0], port["port"]


@contextmanager
def service(kubectl: Kubectl, name: str) -> Iterator[str]:
    """Give the URL of a Service while the context is open."""
    proxy, known, over = Service(kubectl, name), threading.Event(), threading.Event()
    serving = threading.Thread(target=lambda: asyncio.run(_serve(proxy, over)))
    with subprocess.Popen(proxy.watch, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        following = threading.Thread(target=proxy.follow, args=(watching.stdout, known))
        following.start()
        serving.start()
        try:
            assert known.wait(60), f"the cluster has not told of the Service {name}"
            yield f"http://127.0.0.1:{proxy.port}"
        finally:
            over.set()
            watching.kill()
            serving.join()
            following.join()


async def _serve(proxy: Service, over: threading.Event) -> None:
    async with proxy:
        await asyncio.to_thread(over.wait)
