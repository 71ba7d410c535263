"""Why a replica failed, in a sentence. Pure."""

import re
from collections.abc import Sequence

from longshore.core.errors import WorkloadFailed
from longshore.plugins.engine.containers import Container
from longshore.plugins.engine.kernel import Listening

_READ_ONLY = re.compile(
    r"read-?only file ?system|\bEROFS\b|\berrno 30\b|\bos error 30\b", re.IGNORECASE
)
_NOT_EXECUTED = re.compile(
    r"catatonit.*failed to exec pid1: (?P<c>.+)|\btini\b.*\bexec .+ failed: (?P<t>.+)"
)
"""What an engine's own process 1 says of a program that it cannot run."""
_KILLED = 128 + 9
_LONGEST_QUOTE = 300


def is_read_only_error(lines: Sequence[str]) -> bool:
    """Return whether a log tells of a write to a read-only file system."""
    return any(_READ_ONLY.search(line) for line in lines)


def why_exited(container: Container, log_tail: Sequence[str], *, oom: bool) -> str:
    """Return why a container ended.

    Args:
        container: as inspected after its end.
        log_tail: the last lines it wrote.
        oom: the kernel's log says that it was killed for want of memory.
    """
    limit = f"{container.memory_mib} MiB" if container.memory_mib else ""
    if oom or container.oom_killed:
        return f"out of memory: killed at its limit of {limit}" if limit else "out of memory"
    if container.exit_code == _KILLED:
        reason = "killed by signal 9 (exit code 137)"
        if limit:
            reason += f", as happens out of memory: its limit is {limit}"
    else:
        reason = f"exited with code {container.exit_code}"
    if container.error:
        reason += f": {_quoted(container.error)}"
    last = next((line for line in reversed(log_tail) if line.strip()), "")
    if found := _NOT_EXECUTED.search(last):
        program = container.program or "its program"
        return f"{program} cannot be run in the image: {found['c'] or found['t']}"
    return f"{reason}; last line: {_quoted(last)}" if last else f"{reason}, and wrote nothing"


def wrong_port(port: int, found: Listening | None) -> str:
    """Return why nothing can ever answer on the port; empty if it still may."""
    if found is None or port in found.reachable:
        return ""
    if port in found.loopback_only:
        return (
            f"the container listens on port {port} of its own loopback only, where nothing "
            "reaches it; let it listen on 0.0.0.0"
        )
    others = sorted(found.reachable | found.loopback_only)
    if not others:
        return ""
    shown = ", ".join(str(each) for each in others[:5])
    return f"nothing listens on port {port}; the container listens on {shown}"


def start_failure(message: str, command: Sequence[str] | None) -> WorkloadFailed:
    """Return the error for a container that the engine could not create or start."""
    text = message.lower()
    if "no such file" in text or re.search(r"(executable|command).*not found", text):
        what = f"the command {' '.join(command)!r}" if command else "the image's command"
        return WorkloadFailed(
            f"{what} cannot be run in the image: {_quoted(message)}",
            hint="Check the image's ENTRYPOINT and CMD, or the command that was registered.",
        )
    if "exec format error" in text:
        return WorkloadFailed(
            "the image was built for another kind of processor (exec format error)",
            hint="Build it for this machine: docker build --platform.",
        )
    return WorkloadFailed(f"the engine could not start it: {_quoted(message)}")


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"
