"""The form that every error has which callers read."""

from typing import Any

import httpx


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Check the form that every error has, and return the document."""
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert answer.status_code == document["status"] == status, document
    assert document["type"] == f"urn:longshore:problem:{slug}"
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.headers["x-request-id"]
    return document
