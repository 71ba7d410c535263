"""Waiting until a version is ready, with progress on the way."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext

import click

from longshore.core.cli.client import Client
from longshore.core.cli.output import harmless, tell
from longshore.core.errors import LongshoreError
from longshore.core.names import VersionKey
from longshore.core.types import Progress, State, VersionStatus

POLL = 0.25
"""Seconds between looks."""

PATIENCE = 10.0
"""Seconds that a status from before the request may last."""


class StartFailed(LongshoreError):
    """A version could not be started.

    Args:
        key: which.
        status: what the platform tells of it.
    """

    def __init__(self, key: VersionKey, status: VersionStatus) -> None:
        super().__init__(f"{key} failed: {status.reason}", hint=status.hint)
        self.log_tail = list(status.log_tail)


def wait_until_ready(client: Client, key: VersionKey, stale: VersionStatus | None = None) -> None:
    """Show the progress of a version until it is ready.

    Args:
        client: the platform.
        key: the version.
        stale: its status before it was asked to start; that it failed or slept then is no news.

    Raises:
        StartFailed: it cannot be started; the platform goes on trying.
    """
    patient_until = time.monotonic() + PATIENCE
    shown = ""
    with _Line() as line:
        while True:
            status = client.version(key).status
            old = stale is not None and (status.state, status.failures, status.retry_at) == (
                stale.state,
                stale.failures,
                stale.retry_at,
            )
            if status.state is State.READY:
                return
            if not (old and time.monotonic() < patient_until):
                if status.state is State.FAILED:
                    raise StartFailed(key, status)
                if status.state is State.ASLEEP:
                    raise LongshoreError(f"{key} is asleep", hint=f"Wake it: longshore wake {key}")
            text = _described(key, status)
            if text != shown:
                line.show(text)
                shown = text
            time.sleep(POLL)


def _described(key: VersionKey, status: VersionStatus) -> str:
    text = f"{key} is {status.state}"
    if status.progress:
        text += f": {_progress(status.progress)}"
    elif status.reason:
        text += f": {status.reason}"
    return harmless(text)


def _progress(progress: Progress) -> str:
    if not progress.total:
        return progress.what
    return f"{progress.what} {progress.done * 100 // progress.total} %"


class _Line(AbstractContextManager["_Line"]):
    """One line that changes on a terminal, with a spinner; lines one below the other elsewhere."""

    def __init__(self) -> None:
        self._status: AbstractContextManager[object] = nullcontext()
        if sys.stderr.isatty():
            # Only a terminal pays for the import.
            from rich.console import Console

            self._status = Console(stderr=True).status("")

    def __enter__(self) -> "_Line":
        self._shown = self._status.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._status.__exit__(None, None, None)

    def show(self, text: str) -> None:
        if self._shown is None:
            tell(text)
        else:
            from rich.markup import escape

            self._shown.update(escape(text))  # type: ignore[attr-defined] # rich's Status


def interrupted(key: VersionKey) -> click.exceptions.Exit:
    """Tell what Ctrl-C did not undo, and return the exit to raise."""
    tell(
        f"\nStopped waiting. {key} stays registered and goes on starting.\n"
        f"Look: longshore show {key}. Remove it: longshore delete {key}"
    )
    return click.exceptions.Exit(130)
