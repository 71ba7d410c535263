"""Python programs that talk in lines, each in a process of its own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class Program:
    """One that runs; it said first where it listens."""

    def __init__(self, log: Path, *command: str) -> None:
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.port = int(self.hear())

    def hear(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def census(self, told: str = "") -> dict[str, int]:
        """Tell it something, and return what it counts then."""
        assert self._process.stdin
        self._process.stdin.write(f"{told}\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self.hear())
        return counts

    def end(self) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(30)


@contextlib.contextmanager
def program(log: Path, *command: str) -> Iterator[Program]:
    running = Program(log, *command)
    try:
        yield running
    finally:
        running.end()
