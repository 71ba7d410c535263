"""The platform's refusals, read from its problem documents (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

import httpx

from longshore.core.errors import LongshoreError

TYPE_PREFIX = "urn:longshore:problem:"


class Problem(LongshoreError):
    """The platform did not do what was asked.

    Args:
        document: its problem document.
        status: the HTTP status.
    """

    def __init__(self, document: Mapping[str, Any], status: int) -> None:
        detail = document.get("detail") or document.get("title") or f"HTTP status {status}"
        hint = str(document.get("hint") or "")
        nearest = [str(each) for each in _listed(document, "nearest")]
        if nearest and not any(each in hint for each in nearest):
            hint = f"Did you mean {' or '.join(nearest)}? {hint}".strip()
        super().__init__(str(detail), hint=hint)
        self.status = status
        self.log_tail = tuple(str(each) for each in _listed(document, "log_tail"))


def problem_in(answer: httpx.Response) -> Problem | None:
    """Return the platform's own refusal in an answer that was read; None where it is not one."""
    try:
        document = answer.json()
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    if not str(document.get("type", "")).startswith(TYPE_PREFIX):
        return None
    return Problem(document, answer.status_code)


def check(answer: httpx.Response) -> httpx.Response:
    """Return an answer of the management API, if it is a success.

    Raises:
        Problem: the platform's refusal.
        LongshoreError: what answered is something else than Longshore.
    """
    if answer.is_success:
        return answer
    answer.read()
    if problem := problem_in(answer):
        raise problem
    raise foreign(answer, f"with status {answer.status_code} and no reason")


def foreign(answer: httpx.Response, how: str) -> LongshoreError:
    """Return the error for an answer that does not look like Longshore's."""
    return LongshoreError(
        f"{answer.url} answered {how}",
        hint="Does Longshore listen there, of the same release as this one? See --url.",
    )


def _listed(document: Mapping[str, Any], member: str) -> list[Any]:
    value = document.get(member)
    return value if isinstance(value, list) else []
