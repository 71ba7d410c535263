"""The installed program as a process of its own: with pipes, and with a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from click.testing import Result

PROGRAM = str(Path(sys.executable).with_name("longshore"))

Call = Callable[..., Result]
"""Calls a command in this process, with a platform to talk to."""


def environment(url: str, **variables: str) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LONGSHORE_") and name not in {"NO_COLOR", "COLUMNS", "TERM"}
    }
    return {**inherited, "TERM": "xterm", "LONGSHORE_URL": url, **variables}


class Terminal:
    """A program on a terminal of 60 columns, of which it is standard input, output and error."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], columns: int = 60) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(environment),
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def until(self, text: str, within: float = 20) -> None:
        """Read until a text was shown."""
        deadline = time.monotonic() + within
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), f"ended before {text!r}: {self.shown!r}"

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self, within: float = 20) -> int:
        """Read all that is left; return the status."""
        deadline = time.monotonic() + within
        while self._read():
            assert time.monotonic() < deadline, self.shown
        return self.process.wait(within)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self) -> bool:
        """Read a piece, for at most a moment; return whether there may be more."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return self.process.poll() is None
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux tells the end of a terminal in this way
            return False
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


@contextmanager
def terminal(*arguments: str, url: str, columns: int = 60, **variables: str) -> Iterator[Terminal]:
    opened = Terminal(*arguments, environment=environment(url, **variables), columns=columns)
    try:
        yield opened
    finally:
        opened.close()
