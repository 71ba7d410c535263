"""Why a replica could not be pulled, started or kept running, in a sentence. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from longshore.core.errors import WorkloadFailed
from longshore.core.quantities import memory
from longshore.core.settings import RegistryLogin

_READ_ONLY = re.compile(
    r"read-?only file ?system|\bEROFS\b|\berrno 30\b|\bos error 30\b", re.IGNORECASE
)
_KILLED = 128 + 9
_LONGEST_QUOTE = 300


class Cause(NamedTuple):
    """One thing that goes wrong with pulls; its texts take what ``why_not_pulled`` knows."""

    words: tuple[str, ...]
    """What engines say, in lower case; any of them."""
    reason: str
    hint: str


_NO_ACCESS = ("unauthorized", "authentication required", "no basic auth", "denied", "forbidden")
_WITHOUT_LOGIN = Cause(
    _NO_ACCESS,
    "the registry {host} wants a login for {image}",
    "Give one under registries in plugins.toml, by the key {host!r}.",
)
_WITH_LOGIN = Cause(
    _NO_ACCESS,
    "the registry {host} refuses {image} to the user {user!r}",
    "Check the login for {host} under registries in plugins.toml, and that this user may pull it.",
)
_CAUSES = (
    Cause(
        ("http response to https client",),
        "the registry {host} speaks plain HTTP, which is not allowed for it",
        "Add {host!r} to insecure_registries in plugins.toml; Docker needs it in daemon.json too.",
    ),
    Cause(
        ("manifest unknown", "name unknown", "not found", "does not exist", "status: 404"),
        "the image {image} is not in the registry {host}",
        "Push it again, and register it under a new version.",
    ),
    Cause(
        ("x509", "certificate", "tls:"),
        "the registry {host} has no certificate to trust: {message}",
        "Let the engine trust it, or add {host!r} to insecure_registries in plugins.toml.",
    ),
    Cause(
        ("no space left",),
        "there is no room on the disk for {image}",
        "Remove unused images: docker image prune, or podman image prune.",
    ),
    Cause(
        ("connection refused", "no such host", "dial tcp", "timeout", "unreachable", "eof"),
        "the registry {host} cannot be reached: {message}",
        "Check that it runs and that this machine can reach it.",
    ),
)
"""The first that fits counts."""


def is_read_only_error(lines: Sequence[str]) -> bool:
    """Return whether a log tells of a write to a read-only file system."""
    return any(_READ_ONLY.search(line) for line in lines)


def why_ended(
    exit_code: int | None,
    log_tail: Sequence[str],
    *,
    memory_mib: int | None = None,
    oom: bool = False,
    error: str = "",
) -> str:
    """Return why a container ended.

    Args:
        exit_code: of its process 1.
        log_tail: the last lines it wrote.
        memory_mib: its limit, if it had one.
        oom: it was killed for want of memory.
        error: what the engine could not do for it.
    """
    limit = memory(memory_mib) if memory_mib else ""
    if oom:
        return f"out of memory: killed at its limit of {limit}" if limit else "out of memory"
    if exit_code == _KILLED:
        reason = "killed by signal 9 (exit code 137)"
        if limit:
            reason += f", as happens out of memory: its limit is {limit}"
    else:
        reason = f"exited with code {exit_code}"
    if error:
        reason += f": {quoted(error)}"
    last = next((line for line in reversed(log_tail) if line.strip()), "")
    return f"{reason}; last line: {quoted(last)}" if last else f"{reason}, and wrote nothing"


def start_failure(message: str, command: Sequence[str] | None) -> WorkloadFailed:
    """Return the error for a container that the engine could not create or start."""
    text = message.lower()
    if "no such file" in text or re.search(r"(executable|command).*not found", text):
        what = f"the command {' '.join(command)!r}" if command else "the image's command"
        return WorkloadFailed(
            f"{what} cannot be run in the image: {quoted(message)}",
            hint="Check the image's ENTRYPOINT and CMD, or the command that was registered.",
        )
    if "exec format error" in text:
        return WorkloadFailed(
            "the image was built for another kind of processor (exec format error)",
            hint="Build it for this machine: docker build --platform.",
        )
    return WorkloadFailed(f"the engine could not start it: {quoted(message)}")


def why_not_pulled(reference: str, message: str, login: RegistryLogin | None) -> WorkloadFailed:
    """Return the error for a pull that failed with the engine's message."""
    known = {
        "host": reference.partition("/")[0],
        "image": short(reference),
        "user": login.username if login else "",
        "message": _end(message),
    }
    for cause in (_WITH_LOGIN if login else _WITHOUT_LOGIN, *_CAUSES):
        if any(word in message.lower() for word in cause.words):
            return WorkloadFailed(cause.reason.format(**known), hint=cause.hint.format(**known))
    return WorkloadFailed("the engine could not pull {image}: {message}".format(**known))


def short(reference: str) -> str:
    """Return a pinned reference as people read it: ``localhost:5001/iris@sha256:1f67e7ea6c42``."""
    repository, _, digest = reference.partition("@")
    return f"{repository}@{digest[:19]}" if digest else repository


def _end(message: str, longest: int = 300) -> str:
    """Return the end of a chain of errors, which is where its cause stands."""
    message = " ".join(message.split())
    return message if len(message) <= longest else "…" + message[-longest:]


def quoted(text: str) -> str:
    """Return what somebody else wrote in one line of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"
