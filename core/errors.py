"""What can go wrong, in words a user can act on.

Every error says what happened and why (the message), and what to do next (the hint). The router
turns them into problem documents, the command line into two lines on standard error.
"""

from collections.abc import Sequence


class LongshoreError(Exception):
    """Something the user should read.

    Args:
        message: what happened and why, one sentence.
        hint: what to do next; empty where nothing can be advised.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.raised_by = ""
        """The plugin that raised it, and in which hook; empty where none is known to have."""

    @property
    def traced(self) -> str:
        """The message as a log has it: with the plugin that raised it, and the hook."""
        return f"{self.message} ({self.raised_by})" if self.raised_by else self.message


class InvalidInput(LongshoreError):
    """The caller sent something that cannot be accepted; nothing was changed.

    Args:
        message: what is wrong, and the rule.
        pointer: JSON pointer (RFC 6901) to the field at fault; empty for the whole.
        hint: what to do next.
    """

    def __init__(self, message: str, *, pointer: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer


class NotFound(LongshoreError):
    """There is no such model or version.

    Args:
        message: what was looked for.
        nearest: names that resemble it, best first.
        hint: what to do next.
    """

    def __init__(self, message: str, *, nearest: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.nearest = tuple(nearest)


class Conflict(LongshoreError):
    """The same number is already registered with other content."""


class Refused(LongshoreError):
    """The platform understood the request and will not do it: no node fits, a plugin objects."""


class Unavailable(LongshoreError):
    """A part that is needed does not answer now: the database, the engine, an image registry."""


class Deposed(LongshoreError):
    """Another process leads by now, and what this one was about to do is that one's business."""


class WorkloadFailed(LongshoreError):
    """A backend could not run a workload.

    Args:
        message: the engine's reason, one sentence.
        log_tail: the last lines that the container wrote, oldest first.
        hint: what to do next.
    """

    def __init__(self, message: str, *, log_tail: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log_tail = tuple(log_tail)


class StartRefused(LongshoreError):
    """Longshore will not start as it is set up; the message says where and the hint how to mend."""
