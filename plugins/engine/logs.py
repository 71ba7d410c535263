"""Container logs: from the engine's multiplexed stream to clean lines."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

from longshore.core.backends.lines import LONGEST_LINE, Line
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.wire import EngineError

MOST_LINES = 10_000
"""Lines of the past that are read for one container."""

_HEADER = 8
_LARGEST_FRAME = 1 << 20


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
    with contextlib.suppress(EngineError):  # it was removed meanwhile
        async with client.log(container, {"follow": "1", "since": f"{since:.3f}"}) as pieces:
            async for piece in pieces:
                for line in reader.feed(piece):
                    yield line.cleaned()
            for line in reader.finish():
                yield line.cleaned()


async def past_if_there(client: Client, tail: int, container: str, until: float) -> list[Line]:
    """Return what ``past`` does; nothing of a container that was removed meanwhile."""
    try:
        return await past(client, container, tail, until)
    except EngineError:
        return []
