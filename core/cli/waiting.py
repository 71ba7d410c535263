"""Waiting until a version is ready, with progress on the way."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from longshore.core.cli.client import Client
from longshore.core.cli.failures import Interrupted, StartFailed
from longshore.core.cli.output import tell
from longshore.core.cli.problems import Problem
from longshore.core.errors import LongshoreError, Unavailable
from longshore.core.names import VersionKey
from longshore.core.types import Progress, State, VersionRecord, VersionStatus, Wish
from longshore.core.words.text import one_line, progress
from longshore.core.words.versions import why_of

POLL = 0.25
"""Seconds between looks."""

STALE = 10.0
"""Seconds that a failure from before the request may still stand there."""

AWAY = 30.0
"""Seconds that the platform may be away, as while it is started again."""

_SERVER_ERROR = 500


def wait_until_ready(
    client: Client, key: VersionKey, before: VersionStatus | None = None
) -> VersionRecord:
    """Show the progress of a version until it is ready, or was put to sleep; return it.

    Args:
        client: the platform.
        key: the version.
        before: its status before it was asked to start: that it had failed then is no news.

    Raises:
        StartFailed: it could not be started; the platform goes on trying.
        Interrupted: Ctrl-C came.
        Unavailable: the platform went away and did not come back.
    """
    try:
        with progress_line() as show:
            return _wait(client, key, before, show)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped waiting; {key} stays registered and goes on starting in the background",
            hint=f"Look: longshore show {key}. Remove it: longshore delete {key}",
        ) from None


def _wait(
    client: Client, key: VersionKey, before: VersionStatus | None, show: Callable[[str], None]
) -> VersionRecord:
    begun = seen = time.monotonic()
    while True:
        try:
            record = client.version(key)
        except (Unavailable, Problem) as error:
            if isinstance(error, Problem) and error.status < _SERVER_ERROR:
                raise _gone(key, error) from error
            if time.monotonic() - seen > AWAY:
                raise Unavailable(
                    f"{error.message}; {key} is registered, and whether it started is not known",
                    hint=error.hint,
                ) from error
            show(f"{key}: waiting for the platform ({error.message})")
        else:
            seen, status = time.monotonic(), record.status
            if status.state is State.READY or record.wish is not Wish.RUN:
                return record
            is_news = before is None or outcome(status) != outcome(before)
            if status.state is State.FAILED and (is_news or seen - begun > STALE):
                raise _failure(key, status)
            show(_described(key, status))
        time.sleep(POLL)


def outcome(status: VersionStatus) -> tuple[object, ...]:
    """Return what tells one end of a start from the next one."""
    # retry_at is left out: to be woken clears it before anything was tried.
    return status.state, status.since, status.failures


def _gone(key: VersionKey, error: Problem) -> LongshoreError:
    return StartFailed(f"{key} went away while it started: {error.message}", hint=error.hint)


def _failure(key: VersionKey, status: VersionStatus) -> StartFailed:
    reason = status.reason or "the platform gives no reason"
    if status.exit_code is not None and str(status.exit_code) not in reason:
        reason += f" (exit code {status.exit_code})"
    hint = status.hint or f"See its log: longshore logs {key}"
    return StartFailed(f"{key} failed: {reason}", log_tail=status.log_tail, hint=hint)


def _described(key: VersionKey, status: VersionStatus) -> str:
    why = why_of(status)
    return f"{key} is {status.state}: {why}" if why else f"{key} is {status.state}"


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Yield what shows a text: in one line that changes on a terminal, else as lines."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    # Only a terminal pays for the import.
    from rich.console import Console
    from rich.text import Text

    begun = time.monotonic()
    with Console(stderr=True).status("") as line:
        yield lambda text: line.update(
            Text(f"{one_line(text)}  ({time.monotonic() - begun:.0f} s)", overflow="ellipsis")
        )


@contextmanager
def busy(text: str) -> Iterator[Callable[[Progress], None]]:
    """Show on a terminal that something goes on that may take its time.

    Yields:
        What shows how far it has come.
    """
    with progress_line() if sys.stderr.isatty() else nullcontext(_to_nobody) as show:
        show(text)
        yield lambda come: show(f"{text}: {progress(come)}")


def _to_nobody(_: str) -> None:
    """Show nothing where nobody looks."""


class _Lines:
    """Prints a line whenever something other than a number in it changes."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        gist = "".join(each for each in text if not each.isdecimal())
        if gist != self._shown:
            tell(one_line(text))
        self._shown = gist
