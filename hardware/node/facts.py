"""The facts about a node, and how one says that it is not known."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from longshore.core.types import Confidence, Evidence

if TYPE_CHECKING:
    from pydantic import JsonValue

FACTS = (
    *("nvml_status", "driver", "cuda", "gpus", "nvidia_pci"),
    *("cpu_architecture", "cpu_model", "cpu_level", "cpu_flags", "cpu_physical", "cpu_logical"),
    *("cpuset", "cpu_quota_millicores", "cpu_limit_millicores"),
    *("numa", "memory_mib", "memory_limit_mib", "labels"),
)
"""Every profile of a node has all of these; what is not known says why."""


class Unread(Exception):
    """Something could not be read.

    Args:
        why: what, and why, the rest of a sentence that begins with the fact.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def exact(value: "JsonValue", source: str) -> Evidence:
    """Return a fact that was read; None is a value, too: there is no limit."""
    return Evidence(value=value, source=source, confidence=Confidence.EXACT)


def inferred(value: "JsonValue", source: str) -> Evidence:
    """Return a fact that follows from others."""
    return Evidence(value=value, source=source, confidence=Confidence.INFERRED)


def declared(value: "JsonValue", source: str) -> Evidence:
    """Return a fact that somebody else says."""
    return Evidence(value=value, source=source, confidence=Confidence.DECLARED)


def unknown(why: str) -> Evidence:
    """Return a fact that is not known; its source is the reason."""
    return Evidence(value=None, source=why, confidence=Confidence.UNKNOWN)


def read(fact: Callable[[], Evidence]) -> Evidence:
    """Return a fact, or why it could not be read."""
    try:
        return fact()
    except Unread as error:
        return unknown(error.why)


def complete(facts: Mapping[str, Evidence], why: str) -> dict[str, Evidence]:
    """Return facts with those that are missing, which are not known for this reason."""
    missing = unknown(why)
    return {name: missing for name in FACTS if name not in facts} | dict(facts)


def known(first: Mapping[str, Evidence], second: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Return both; of facts in both the first one's, unless that is not known."""
    unread = {name for name, fact in first.items() if fact.confidence is Confidence.UNKNOWN}
    return dict(first) | {
        name: fact for name, fact in second.items() if name in unread or name not in first
    }


@contextmanager
def unreadable(what: object) -> Iterator[None]:
    """Turn what goes wrong with a file into a reason."""
    try:
        yield
    except FileNotFoundError as error:
        raise Unread(f"{what} is not there") from error
    except OSError as error:
        raise Unread(f"{what} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise Unread(f"{what} holds something else than expected") from error
