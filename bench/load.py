"""The clients of predictions: wrk as fast as it goes, a steady one, and one for long bodies.

Times are given in milliseconds.
"""

import gc
import json
import math
import re
import select
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import BenchFailed, need
from bench.subjects import HERE, QUESTION, Subject

CONNECTIONS = 64
"""How many the steady client opens; where all are busy, the next request waits, and that counts."""

PIECE = memoryview(bytes(1 << 20))
MIB = 1 << 20

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client saw."""

    rate: float
    """Answers a second."""
    p50: float
    p99: float
    longest: float
    errors: int
    kinds: str = ""
    """Which errors, and how many of each, where the client tells them apart."""


def wrk(
    subject: Subject,
    call: str,
    *,
    connections: int,
    seconds: float,
    body: int = 0,
    versions: int = 0,
    heads: int = 0,
) -> Outcome:
    """POST over so many connections, each as soon as its last answer came.

    Args:
        subject: whom to ask.
        call: which of the backend's calls.
        connections: how many.
        seconds: whole ones; at least one.
        body: bytes to send; 0 sends a small JSON document.
        versions: spread the requests over so many of ``Crowd``; 0 sends them all to the call.
        heads: send so many different heads in turn; 0 sends the same one over and over.
    """
    url = f"http://127.0.0.1:{subject.port}{subject.path(call)}"
    length = f"-d{max(1, round(seconds))}s"
    options = ["-t1", f"-c{connections}", length, "--timeout", "30s"]
    script = [
        "-s",
        str(HERE / "conf" / "post.lua"),
        url,
        "--",
        str(body),
        str(versions),
        str(heads),
    ]
    done = subprocess.run(  # noqa: S603 - our own script, our own numbers
        [need("wrk"), *options, *script], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise BenchFailed(f"wrk against {subject.name} failed: {done.stderr or done.stdout}")
    found = json.loads(lines[-1])
    return Outcome(
        rate=found["requests"] / found["microseconds"] * 1e6,
        p50=found["p50"] / 1000,
        p99=found["p99"] / 1000,
        longest=found["max"] / 1000,
        errors=found["errors"],
        kinds=found["kinds"],
    )


@dataclass(frozen=True, slots=True)
class Paced(Outcome):
    """What the steady client saw, and how well it kept its own time."""

    late_p99: float = math.nan
    """How late it was itself in sending; where this is not small, the other numbers are its own."""


def steady(subject: Subject, path: str, *, rate: float, seconds: float) -> Paced:
    """POST at a fixed rate, whatever the answers do.

    A request's time counts from the moment for which it was planned, so that a stall is seen by all
    requests that it holds up.

    Args:
        subject: whom to ask.
        path: of the request.
        rate: requests a second, evenly spaced.
        seconds: how long to send.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{subject.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(QUESTION)}\r\n\r\n"
    request = head.encode() + QUESTION
    sockets = [socket.create_connection(("127.0.0.1", subject.port)) for _ in range(CONNECTIONS)]
    for each in sockets:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with _undisturbed():
            return _paced(sockets, request, rate, seconds)
    finally:
        for each in sockets:
            each.close()


def _paced(sockets: Sequence[socket.socket], request: bytes, rate: float, seconds: float) -> Paced:
    # Neither asyncio nor epoll can wait for less than a millisecond; select can.
    count = int(rate * seconds)
    idle, waiting = list(sockets), deque[float]()
    busy: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytes] = {}
    times: list[float] = []
    late: list[float] = []
    planned = errors = 0
    clock = time.monotonic
    began = clock()
    give_up = began + seconds + 30
    while len(times) + errors < count and clock() < give_up:
        now = clock()
        while planned < count and (due := began + planned / rate) <= now:
            late.append((now - due) * 1000)
            waiting.append(due)
            planned += 1
        while waiting and idle:
            chosen = idle.pop()
            busy[chosen] = waiting.popleft()
            chosen.sendall(request)
        pause = max(0.0, began + planned / rate - clock()) if planned < count else 1.0
        for ready in select.select(list(busy), (), (), pause)[0]:
            data = received.pop(ready, b"") + ready.recv(1 << 16)
            if not data:
                raise BenchFailed("a connection of the steady client was closed")
            if not _complete(data):
                received[ready] = data
                continue
            times.append((clock() - busy.pop(ready)) * 1000)
            errors += not data.startswith(b"HTTP/1.1 200")
            idle.append(ready)
    errors += count - len(times)
    return Paced(
        rate=len(times) / seconds,
        p50=percentile(times, 50),
        p99=percentile(times, 99),
        longest=max(times, default=math.nan),
        errors=errors,
        late_p99=percentile(late, 99),
    )


def _complete(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not pass; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the collector of garbage from stopping the clock."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def transfer(subject: Subject, call: str, *, send: int, connections: int, seconds: float) -> float:
    """POST long bodies one after the other on each connection; return MiB a second, both ways.

    Args:
        subject: whom to ask.
        call: which of the backend's calls.
        send: bytes of each request's body.
        connections: how many.
        seconds: after these no new request begins; each connection makes at least one.
    """
    moved: list[int] = []
    failed: list[Exception] = []
    began = time.monotonic()

    def work() -> None:
        buffer = bytearray(len(PIECE))
        try:
            with socket.create_connection(("127.0.0.1", subject.port), timeout=60) as connection:
                while True:
                    moved.append(send + _exchange(connection, subject.path(call), send, buffer))
                    if time.monotonic() - began > seconds:
                        return
        except (OSError, ValueError) as error:
            failed.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failed:
        raise BenchFailed(f"{subject.name}, {call}: {failed[0]!r}")
    return sum(moved) / MIB / (time.monotonic() - began)


def _exchange(connection: socket.socket, path: str, send: int, buffer: bytearray) -> int:
    """Make one call; return the bytes of the answer's body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {send}\r\n\r\n"
    connection.sendall(head.encode())
    for sent in range(0, send, len(PIECE)):
        connection.sendall(PIECE[: send - sent])
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(1 << 16)
        if not piece:
            raise ValueError("the connection was closed")
        answer += piece
    head_received, _, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head_received)
    if length is None or not answer.startswith(b"HTTP/1.1 200"):
        raise ValueError(answer[:500].decode(errors="replace"))
    left = int(length[1]) - len(body)
    while left > 0:
        got = connection.recv_into(buffer)
        if not got:
            raise ValueError("the connection was closed within the answer")
        left -= got
    return int(length[1])
