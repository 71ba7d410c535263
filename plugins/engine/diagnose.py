"""Why a replica failed, as this engine and this machine's kernel tell it. Pure."""

import re
from collections.abc import Sequence

from longshore.core.backends.causes import why_ended
from longshore.plugins.engine.containers import Container
from longshore.plugins.engine.kernel import Listening

_NOT_EXECUTED = re.compile(
    r"catatonit.*failed to exec pid1: (?P<c>.+)|\btini\b.*\bexec .+ failed: (?P<t>.+)"
)
"""What an engine's own process 1 says of a program that it cannot run."""


def why_exited(container: Container, log_tail: Sequence[str], *, oom: bool) -> str:
    """Return why a container ended.

    Args:
        container: as inspected after its end.
        log_tail: the last lines it wrote.
        oom: the kernel's log says that it was killed for want of memory.
    """
    oom = oom or container.oom_killed
    last = next((line for line in reversed(log_tail) if line.strip()), "")
    if not oom and (found := _NOT_EXECUTED.search(last)):
        program = container.program or "its program"
        return f"{program} cannot be run in the image: {found['c'] or found['t']}"
    return why_ended(
        container.exit_code,
        log_tail,
        memory_mib=container.memory_mib,
        oom=oom,
        error=container.error,
    )


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
