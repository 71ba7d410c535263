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
        of_it = f"?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        path = f"/apis/discovery.k8s.io/v1/namespaces/{kubectl.namespace}/endpointslices{of_it}"
        found = json.loads(kubectl.run("get", "--raw", path))
        self._slices = {each["metadata"]["name"]: list(_ready(each)) for each in found["items"]}
        self._ready = self._all()
        since = found["metadata"]["resourceVersion"]
        self.watch = ("kubectl", "get", "--raw", f"{path}&watch=1&resourceVersion={since}")
        """The command that tells of each change, a line of JSON for each."""
        self._name = name
        self._turns = itertools.count()

    def there(self) -> tuple[str, int]:
        """Return one of the pods."""
        if not self._ready:
            raise ConnectionRefusedError(f"no pod of {self._name} is ready")
        return self._ready[next(self._turns) % len(self._ready)]

    def follow(self, told: Iterable[str]) -> None:
        """Hear which pods are ready, each time some seconds late."""
        for line in told:
            change = json.loads(line)
            gone, name = change["type"] == "DELETED", change["object"]["metadata"]["name"]
            self._slices[name] = [] if gone else list(_ready(change["object"]))
            threading.Timer(DELAY, self._hear, [self._all()]).start()

    def _all(self) -> list[tuple[str, int]]:
        return [each for of_slice in self._slices.values() for each in of_slice]

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
    proxy, over, opened = Service(kubectl, name), threading.Event(), threading.Event()
    serving = threading.Thread(target=lambda: asyncio.run(_serve(proxy, opened, over)))
    with subprocess.Popen(proxy.watch, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        following = threading.Thread(target=proxy.follow, args=(watching.stdout,))
        following.start()
        serving.start()
        try:
            assert opened.wait(10)
            yield f"http://127.0.0.1:{proxy.port}"
        finally:
            over.set()
            watching.kill()
            serving.join()
            following.join()


async def _serve(proxy: Service, opened: threading.Event, over: threading.Event) -> None:
    async with proxy:
        opened.set()
        await asyncio.to_thread(over.wait)
