"""How a command ends: two lines that say what happened and what to do, and an exit status."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TextIO

import click

from longshore.core.errors import InvalidInput, LongshoreError
from longshore.core.words.text import one_line

FAILURE = 1
WRONG_USE = 2
INTERRUPTED = 130


class StartFailed(LongshoreError):
    """A version could not be started.

    Args:
        message: why, one sentence.
        log_tail: the last lines that its container wrote.
        hint: what to do next.
    """

    def __init__(self, message: str, *, log_tail: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log_tail = tuple(log_tail)


class Interrupted(LongshoreError):
    """Ctrl-C came while something on the platform goes on."""


def exit_status(run: Callable[[], object]) -> int:
    """Run something, print what goes wrong to standard error, and return the exit status."""
    try:
        status = run()
        # Here, where a reader that left is still our business, and not in Python's last breath.
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
        return FAILURE
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last stop: users see no traceback
        return _tell(error)
    return status if isinstance(status, int) else 0


def _tell(error: Exception) -> int:
    if os.environ.get("LONGSHORE_DEBUG"):
        traceback.print_exc()
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "longshore"
            _show(error.format_message(), f"{command} --help describes it.")
            return WRONG_USE
        case click.ClickException():
            _show(error.format_message())
            return error.exit_code
        case LongshoreError():
            _show(error.message, error.hint, getattr(error, "log_tail", ()))
            wrong_use = isinstance(error, InvalidInput)
            interrupted = isinstance(error, Interrupted)
            return WRONG_USE if wrong_use else INTERRUPTED if interrupted else FAILURE
        case OSError():
            # A full disk behind standard output would fail once more at the very end.
            _silence(sys.stdout)
            _show(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
            return FAILURE
        case _:
            what = f"{type(error).__name__}: {error}"
            _show(f"something unexpected happened: {what}", "LONGSHORE_DEBUG=1 shows where.")
            return FAILURE


def _show(message: str, hint: str = "", log_tail: Sequence[str] = ()) -> None:
    text = one_line(message)
    end = "" if text.endswith((".", "!", "?")) else "."
    click.echo(f"{click.style('Error:', fg='red')} {text}{end}", err=True)
    for line in log_tail:
        click.echo(f"  | {one_line(line)}", err=True)
    if hint:
        click.echo(f"{click.style('Hint:', bold=True)} {one_line(hint)}", err=True)


def _silence(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, for Python flushes it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
