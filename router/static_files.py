"""The web page itself: one document, and the scripts and styles that it is made of.

Nothing in it comes from a model: what the page shows it asks of ``page`` and puts in as text. The
document's policy lets a browser run and apply what carries the nonce of that one answer, and
nothing else; not even what lies on the same host, for containers answer there, too.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from fastapi.responses import HTMLResponse

from longshore.core.errors import NotFound
from longshore.router.auth import STATIC

_DOCUMENT = "index.html"
_NONCE = "{{nonce}}"
_KINDS = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_ALWAYS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    headers: Mapping[str, str]


def static_routes() -> APIRouter:
    """Return the endpoints that the page is loaded from."""
    router = APIRouter(tags=["operations"])
    folder = files("longshore.router").joinpath("static")
    document = folder.joinpath(_DOCUMENT).read_text("utf-8")
    # Read once, so that no path that a caller sends ever reaches the file system.
    held = {
        each.name: _read(each.name, each.read_bytes())
        for each in folder.iterdir()
        if each.name.rpartition(".")[2] in _KINDS
    }

    @router.get("/", summary="The web page", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        """Show models, versions, nodes, and why each is as it is."""
        nonce = secrets.token_urlsafe(16)
        headers = {
            **_ALWAYS,
            "content-security-policy": _POLICY.format(nonce=nonce),
            # The nonce is for one answer.
            "cache-control": "no-store",
            "cross-origin-opener-policy": "same-origin",
        }
        return HTMLResponse(document.replace(_NONCE, nonce), headers=headers)

    @router.get(STATIC + "{name}", include_in_schema=False)
    async def static(name: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        file = held.get(name)
        if file is None:
            raise NotFound(f"the page has no part {name!r}")
        known = file.headers["etag"] in (each.strip() for each in if_none_match.split(","))
        if known:
            return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=dict(file.headers))
        return Response(file.content, headers=dict(file.headers))

    return router


def _read(name: str, content: bytes) -> _File:
    digest = hashlib.sha256(content).hexdigest()[:32]
    headers = {
        **_ALWAYS,
        "content-type": _KINDS[name.rpartition(".")[2]],
        "etag": f'"{digest}"',
        # Kept, and asked for anew each time: after an update all parts are of one release.
        "cache-control": "no-cache",
    }
    return _File(content, headers)
