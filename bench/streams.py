"""The client of server-sent events. Each event tells when the backend sent it."""

import re
import resource
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import BenchFailed
from bench.subjects import Subject

_EVENT = re.compile(rb"data: (\d+)\n\n")


@dataclass(frozen=True, slots=True)
class Delays:
    """From the backend's sending to our receiving, in milliseconds."""

    first: Sequence[float]
    """Of each stream's first event."""
    later: Sequence[float]


def one_by_one(subject: Subject, call: str, streams: int) -> Delays:
    """Read streams to their ends, one after the other."""
    first: list[float] = []
    later: list[float] = []
    for _ in range(streams):
        with _opened(subject, call) as connection:
            reading = _Reading()
            delays: list[float] = []
            while not reading.ended:
                delays += reading.take(connection)
            first += delays[:1]
            later += delays[1:]
    return Delays(first, later)


@contextmanager
def many(subject: Subject, call: str, streams: int) -> Iterator["Many"]:
    """Hold streams open while the context is.

    Raises:
        BenchFailed: this process may not open so many.
    """
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # The proxy has one connection on either side.
    if streams * 2 + 100 > allowed:
        raise BenchFailed(f"{streams} streams need more than {allowed} open files: ulimit -n")
    with selectors.DefaultSelector() as selector:
        try:
            for _ in range(streams):
                selector.register(_connect(subject, call), selectors.EVENT_READ, _Reading())
            yield Many(selector)
        finally:
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - we registered it
                key.fileobj.close()


@dataclass(frozen=True, slots=True)
class Many:
    """Streams that are open at once."""

    _selector: selectors.BaseSelector

    def read(self, seconds: float) -> tuple[list[float], int]:
        """Read from all of them; return the delays of events, and how many streams are broken.

        A stream is broken when it ended, or when nothing came in all this time.
        """
        delays: list[float] = []
        heard: set[int] = set()
        ended = 0
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - we registered it
                delays += key.data.take(key.fileobj)
                heard.add(key.fd)
                if key.data.ended:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    ended += 1
        silent = sum(key.fd not in heard for key in self._selector.get_map().values())
        return delays, ended + silent


class _Reading:
    """The state of one stream."""

    def __init__(self) -> None:
        self._left = b""
        self.ended = False

    def take(self, connection: socket.socket) -> list[float]:
        """Read what is there, and return the delays of the events in it, in milliseconds."""
        piece = connection.recv(1 << 16)
        now = time.monotonic_ns()
        data = self._left + piece
        self.ended = not piece or data.endswith(b"0\r\n\r\n")
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            raise BenchFailed(f"no stream came: {data[:500].decode(errors='replace')}")
        events = list(_EVENT.finditer(data))
        # An event may come in two pieces.
        self._left = data[events[-1].end() :] if events else data
        return [(now - int(each[1])) / 1e6 for each in events]


def _connect(subject: Subject, call: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", subject.port), timeout=30)
    head = f"POST {subject.path(call)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    connection.sendall(head.encode())
    return connection


@contextmanager
def _opened(subject: Subject, call: str) -> Iterator[socket.socket]:
    connection = _connect(subject, call)
    with connection:
        yield connection
