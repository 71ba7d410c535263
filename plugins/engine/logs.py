"""Container logs: from the engine's multiplexed stream to clean lines."""

import asyncio
import contextlib
import heapq
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from longshore.core.errors import Unavailable
from longshore.plugins.engine.client import Client, EngineError
from longshore.plugins.engine.hints import Hints

TAIL_LINES = 20
TAIL_BYTES = 8192
LONGEST_LINE = 16_384
"""Characters; what a container writes beyond them in one line is cut off."""

_BUFFERED = 1000
"""Lines that wait for a slow reader; then the containers' logs are read no further."""

MOST_LINES = 10_000
"""Lines of the past that are read for one container."""

_HEADER = 8
_LARGEST_FRAME = 1 << 20
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Bidirectional marks too: they can make a line read as something else.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    at: str
    """Time in RFC 3339 as the engine writes it; of one engine, they sort as text."""
    text: str

    def cleaned(self) -> "Line":
        """Return the line as it may be shown."""
        return Line(self.at, clean(self.text))


class LineReader:
    """Turns pieces of the engine's log stream into lines, as raw as they were written.

    The stream is a row of frames: a byte for the output (1 or 2), three zeros, four bytes of
    length, then a time and a line or a part of one.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._partial: dict[int, Line] = {}

    def feed(self, piece: bytes) -> Iterator[Line]:
        """Take the next piece; yield the lines that it completes."""
        content, start = self._rest + piece, 0
        while (begin := start + _HEADER) <= len(content):
            length = int.from_bytes(content[start + 4 : begin])
            if length > _LARGEST_FRAME:
                raise EngineError(0, "the engine sent a log that is none")
            if begin + length > len(content):
                break
            yield from self._frame(content[start], content[begin : begin + length])
            start = begin + length
        self._rest = content[start:]

    def finish(self) -> Iterator[Line]:
        """Yield what was begun and has no line end."""
        yield from self._partial.values()
        self._partial.clear()

    def _frame(self, output: int, frame: bytes) -> Iterator[Line]:
        # A long line comes in several frames, each with a time of its own.
        at, _, text = frame.decode(errors="replace").partition(" ")
        begun = self._partial.pop(output, Line(at, ""))
        line = Line(begun.at, (begun.text + text)[: LONGEST_LINE + 1])
        if text.endswith("\n"):
            yield line
        else:
            self._partial[output] = line


async def past(client: Client, container: str, tail: int, until: float | None = None) -> list[Line]:
    """Return the newest ``tail`` lines of a container's log, oldest first.

    Args:
        client: the engine.
        container: its id; running or exited.
        tail: how many lines.
        until: seconds since 1970; only what was written before.
    """
    params = {"until": f"{until:.3f}"} if until is not None else {}
    if not client.engine.is_podman:
        # Podman 4 loses parts of lines when it counts them; its logs are bounded in size anyway.
        params["tail"] = str(tail)
    newest: deque[Line] = deque(maxlen=min(tail, MOST_LINES))
    reader = LineReader()
    async with client.log(container, params) as pieces:
        async for piece in pieces:
            newest.extend(reader.feed(piece))
        newest.extend(reader.finish())
    # Only now, as most lines of a long log are not among the newest.
    return [line.cleaned() for line in newest]


async def follow(client: Client, container: str, since: float) -> AsyncIterator[Line]:
    """Yield what a container writes from then on, until it exits.

    Args:
        client: the engine.
        container: its id.
        since: seconds since 1970.
    """
    reader = LineReader()
    async with client.log(container, {"follow": "1", "since": f"{since:.3f}"}) as pieces:
        async for piece in pieces:
            for line in reader.feed(piece):
                yield line.cleaned()
        for line in reader.finish():
            yield line.cleaned()


async def past_of_all(
    client: Client, containers: Sequence[str], tail: int, until: float
) -> list[Line]:
    """Return what several containers wrote before, ``tail`` lines of each, oldest first."""

    async def read(container: str) -> list[Line]:
        try:
            return await past(client, container, tail, until)
        except EngineError:
            # It was removed between two calls.
            return []

    logs = await asyncio.gather(*(read(each) for each in containers))
    return list(heapq.merge(*logs, key=lambda line: line.at))


class Followed:
    """The logs of several containers, and of those that come later, as they are written.

    Args:
        client: the engine.
        containers: returns the ids of those that are there now.
        hints: when to ask again.
        since: seconds since 1970; older lines are left out.
    """

    def __init__(
        self,
        client: Client,
        containers: Callable[[], Awaitable[Sequence[str]]],
        hints: Hints,
        since: float,
    ) -> None:
        self._client = client
        self._containers = containers
        self._hints = hints
        self._since = since
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue(maxsize=_BUFFERED)
        self._readers: dict[str, asyncio.Task[None]] = {}

    async def lines(self) -> AsyncGenerator[Line, None]:
        """Yield lines until the hints end; close it when they are wanted no more."""
        looking = asyncio.create_task(self._look(), name="logs")
        try:
            while (line := await self._lines.get()) is not None:
                yield line
        finally:
            for task in (looking, *self._readers.values()):
                task.cancel()

    async def _look(self) -> None:
        async for _ in self._hints.listen(now=True):
            # The engine may be away; it hints when it is back.
            with contextlib.suppress(Unavailable, EngineError):
                present = set(await self._containers())
                reading = {each for each, task in self._readers.items() if not task.done()}
                self._readers = {
                    each: self._readers.get(each) or asyncio.create_task(self._read(each))
                    for each in present | reading
                }
        await self._lines.put(None)

    async def _read(self, container: str) -> None:
        since = self._since
        while True:
            try:
                async for line in follow(self._client, container, since):
                    await self._lines.put(line)
            except Unavailable:
                since = time.time()
                await asyncio.sleep(1)
            except EngineError:
                return
            else:
                return


def tail_of(lines: list[Line]) -> tuple[str, ...]:
    """Return the last lines, bounded in number and in bytes, for a status."""
    kept: deque[str] = deque()
    room = TAIL_BYTES
    for line in reversed(lines[-TAIL_LINES:]):
        text = line.text.encode()[:room].decode(errors="ignore")
        room -= len(text.encode())
        kept.appendleft(text)
        if room <= 0:
            break
    return tuple(kept)


def clean(text: str) -> str:
    """Return a line that is harmless on a terminal: no escapes, no control characters."""
    # Of a progress bar that draws over itself, the last state counts.
    shown = text.rstrip("\r\n").rpartition("\r")[2]
    shown = _CONTROLS.sub("", _ESCAPES.sub("", shown))
    return shown if len(shown) <= LONGEST_LINE else shown[:LONGEST_LINE] + "…"
