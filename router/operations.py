"""What operators and browsers ask of the process itself: its health, its metrics, its page."""

import base64
import hashlib
import re
from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from longshore.core.errors import Unavailable
from longshore.core.platform import Platform
from longshore.router import openapi
from longshore.router.metrics import WakesCounted, exposition, registry_of
from longshore.router.table import Table


class Alive(BaseModel):
    """That the process, or the platform, is well."""

    status: str = "ok"


def health_routes() -> APIRouter:
    """Return the endpoint that every process answers for itself."""
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="Does the process live?")
    async def healthz() -> Alive:
        """Answer as long as the process can."""
        return Alive()

    return router


def ready_routes(unready: Callable[[], str]) -> APIRouter:
    """Return the endpoint that says whether requests can be served.

    Args:
        unready: returns why they cannot; empty if they can.
    """
    router = APIRouter(tags=["operations"])

    @router.get("/readyz", summary="Is the platform ready?", responses=openapi.problems(503))
    async def readyz() -> Alive:
        """Answer with 503 and the reason until requests can be served."""
        reason = unready()
        if reason:
            raise Unavailable(reason)
        return Alive()

    return router


def metrics_routes(table: Table, wakes: WakesCounted = dict) -> APIRouter:
    """Return the endpoint for Prometheus.

    Args:
        table: what was counted of requests.
        wakes: what was counted of wakes, where this process knows of them.
    """
    router = APIRouter(tags=["operations"])
    registry = registry_of(table, wakes)

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=PlainTextResponse,
        responses=openapi.TEXT_ANSWER,
    )
    async def metrics() -> Response:
        """Return requests, latencies and endpoints by model and version."""
        return Response(exposition(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def operation_routes(platform: Platform, table: Table) -> APIRouter:
    """Return the endpoints."""
    router = health_routes()
    page = files("longshore.router").joinpath("static/index.html").read_text("utf-8")
    policy = _policy(page)

    @router.get("/", summary="The web page", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        """Show models, versions and their states."""
        return HTMLResponse(page, headers={"content-security-policy": policy})

    router.include_router(ready_routes(platform.unready))
    router.include_router(metrics_routes(table, platform.wakes_counted))
    return router


def _policy(page: str) -> str:
    """Return the content security policy that lets the page run its own script and no other."""

    def source(tag: str) -> str:
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = hashlib.sha256(found[1].encode() if found else b"").digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; connect-src 'self'; script-src {source('script')}; "
        f"style-src {source('style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
