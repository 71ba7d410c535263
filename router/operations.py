"""What operators ask of the process itself: its health and its metrics."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
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
    router.include_router(ready_routes(platform.unready))
    router.include_router(metrics_routes(table, platform.wakes_counted))
    return router
