"""An open loop of requests, and an account of what became of each of them."""

import asyncio
import contextlib
import json
import socket
import socketserver
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from parts.aggregated import own_address

A_SECOND = 50
"""Requests of the steady load."""


class Ledger:
    """Hears from models which requests they got, however often, answered or not.

    A model tells it when its environment has ``TELL`` (see tests/images/behave).
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._server = _Listener((own_address(), 0), self._hear)
        self._listening = threading.Thread(target=self._server.serve_forever, args=(0.1,))

    @property
    def option(self) -> str:
        """What ``longshore register --env`` takes to have a model tell."""
        host, port = self._server.server_address[:2]
        return f"TELL={host!s}:{port}"

    def __enter__(self) -> "Ledger":
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._listening.join()
        self._server.server_close()

    def _hear(self, teller: socket.socket) -> None:
        """Count what a model tells; one that died before it was done has told nothing."""
        teller.settimeout(30)
        told = b""
        with contextlib.suppress(OSError):
            while piece := teller.recv(1024):
                told += piece
            with self._counting:
                self.seen[told.decode()] += 1


class _Listener(socketserver.ThreadingTCPServer):
    """Hears each on its own: of a pod that is removed meanwhile, not even the end may come."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], hear: Callable[[socket.socket], None]) -> None:
        super().__init__(address, socketserver.BaseRequestHandler)
        self._hear = hear

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._hear(request)


@dataclass(frozen=True)
class Answer:
    """What became of one request: one of ``well``, ``wrong``, ``failed`` and ``lost``.

    Wrong is an answer to something else, failed another status than 200, lost no answer at all.
    """

    body: str
    outcome: str
    at: float
    """When it was sent, on the monotonic clock."""
    version: str = ""
    said: str = ""
    """Status and detail, where it did not go well."""
    status: int = 0
    problem: str = ""
    """What kind of problem document came; empty if none did."""
    replica: str = ""
    """The one that failed, where the answer names it."""
    ended: float = field(default_factory=time.monotonic)
    """When its answer was there."""


@dataclass
class Load:
    """What a steady load met."""

    ledger: Ledger | None = None
    answers: list[Answer] = field(default_factory=list)
    latest: float = 0.0
    """By how many seconds a request was sent later than its time, at most: an open loop has none
    to speak of."""

    @property
    def faults(self) -> list[Answer]:
        """Return everything that did not go well."""
        return [each for each in self.answers if each.outcome != "well"]

    @property
    def doubled(self) -> list[str]:
        """Return the requests that models got more than once."""
        seen = self.ledger.seen if self.ledger else Counter[str]()
        return [each.body for each in self.answers if seen[each.body] > 1]

    @property
    def untold(self) -> list[str]:
        """Return the requests that went well of which no model told: the account is not whole."""
        seen = self.ledger.seen if self.ledger else Counter[str]()
        well = [each.body for each in self.answers if each.outcome == "well"]
        return [each for each in well if self.ledger and not seen[each]]

    def versions(self) -> set[str]:
        """Return which versions answered."""
        return {each.version for each in self.answers if each.outcome == "well"}

    def well_since(self, moment: float) -> bool:
        """Return whether requests that were sent after a moment are answered well by now."""
        late = [each for each in self.answers if each.at > moment]
        return len(late) > A_SECOND // 2 and all(each.outcome == "well" for each in late[-10:])

    def summary(self) -> str:
        """Return what callers saw, in a line."""
        kinds = Counter(f"{each.outcome} ({each.said[:60]})" for each in self.faults)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none failed"
        return f"{len(self.answers)} requests: {told}; {len(self.doubled)} doubled"

    def assert_spotless(self) -> None:
        """Every request was answered, by itself and once."""
        assert self.answers
        assert not self.faults, self.summary()
        assert not self.doubled
        assert not (untold := self.untold), f"untold: {len(untold)}, such as {untold[0]}"


@contextmanager
def steady_load(
    url: str,
    ledger: Ledger | None = None,
    name: str = "behave",
    pace: Callable[[], float] = lambda: A_SECOND,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Load]:
    """Send requests to a model at a steady pace while the context is open.

    Each is sent at its own time, whatever became of those before it. All have an answer, or have
    none, when the context closes.

    Args:
        url: of the platform.
        ledger: hears which requests models got.
        name: the model's.
        pace: tells how many a second to send now.
        headers: of every request.
    """
    load, over = Load(ledger), threading.Event()
    to = f"{url}/v1/models/{name}/predict"
    pacing = threading.Thread(target=lambda: asyncio.run(_pace(to, load, over, pace, headers)))
    pacing.start()
    try:
        yield load
    finally:
        over.set()
        pacing.join()


async def _pace(
    url: str,
    load: Load,
    over: threading.Event,
    pace: Callable[[], float],
    headers: Mapping[str, str] | None,
) -> None:
    run, due, asking = uuid.uuid4().hex[:8], time.monotonic(), set[asyncio.Task[None]]()
    async with aiohttp.ClientSession(
        # Thousands may wait at a time.
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=60),
        headers=headers,
    ) as client:
        number = 0
        while not over.is_set():
            load.latest = max(load.latest, time.monotonic() - due)
            task = asyncio.create_task(_ask(client, url, f"{run}-{number}", load))
            asking.add(task)
            task.add_done_callback(asking.discard)
            number += 1
            due += 1 / pace()
            await asyncio.sleep(max(0, due - time.monotonic()))
        await asyncio.gather(*asking)


async def _ask(client: aiohttp.ClientSession, url: str, body: str, load: Load) -> None:
    at = time.monotonic()
    try:
        async with client.post(url, data=body) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        load.answers.append(Answer(body, "lost", at, said=repr(error)))
        return
    version = answer.headers.get("x-longshore-version", "")
    if answer.status != 200:
        problem = json.loads(text) if "json" in answer.content_type else {}
        said = f"{answer.status} {problem.get('detail', text)}"
        kind = str(problem.get("type", "")).rpartition(":")[2]
        replica = str(problem.get("replica", ""))
        load.answers.append(Answer(body, "failed", at, version, said, answer.status, kind, replica))
    elif text != body:
        load.answers.append(Answer(body, "wrong", at, version, text))
    else:
        load.answers.append(Answer(body, "well", at, version))
