"""Ctrl-C and the like, at any moment: what was started is stopped in order, nothing is left."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_on_signals() -> None:
    """Have the first signal raise KeyboardInterrupt; those after it would cut cleaning up short.

    A signal that the caller of this program has switched off (nohup) stays so.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(*_: object) -> None:
    for number in SIGNALS:
        signal.signal(number, _pass_over)
    raise KeyboardInterrupt


def _pass_over(*_: object) -> None:
    """Do nothing; unlike SIG_IGN, this is not handed on to programs that are started now."""


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold signals back until the context closes, and have them do their work then."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread hears signals, so nothing can interrupt here.
        yield
        return
    came: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    stop_with: signal.Signals,
    within: float,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the context is open.

    It has a session of its own, so that Ctrl-C reaches us alone and we stop it when it is its turn.

    Args:
        command: the program and its arguments.
        stop_with: the signal that asks it to stop.
        within: seconds that it then has, before it is killed.
        environment: its variables; ours if left out.
        directory: where it runs; here if left out.
        stdout: where its output goes.
        stderr: where its messages go.
    """
    process = None
    try:
        # A signal between its start and the assignment would leave it alone in the world.
        with held():
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        yield process
    finally:
        if process:
            process.send_signal(stop_with)
            try:
                process.wait(within)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
