"""The HTTP side of the platform, put together. A request passes the layers from the top down."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from longshore.core.errors import LongshoreError
from longshore.core.front import Front
from longshore.core.leadership import KnowsLeader
from longshore.core.platform import Platform
from longshore.core.settings import is_loopback
from longshore.router import problems
from longshore.router.auth import Authentication, Fence, names_us
from longshore.router.body_limit import BodyLimit
from longshore.router.callers import Callers
from longshore.router.edge import EdgeLimits, Watch
from longshore.router.edge.head import is_host
from longshore.router.expectation import Expectation
from longshore.router.internal import Colleagues, internal_routes
from longshore.router.lane import Lane
from longshore.router.management import management_routes
from longshore.router.openapi import ANY_PROBLEM, DocumentedApp
from longshore.router.operations import (
    health_routes,
    metrics_routes,
    operation_routes,
    ready_routes,
)
from longshore.router.page import page_routes
from longshore.router.passing_on import Elsewhere, PassingOn, to_leader, was_passed_on
from longshore.router.predictions import prediction_routes
from longshore.router.request_id import RequestId
from longshore.router.shadow import Shadows
from longshore.router.static_files import static_routes
from longshore.router.table import Table
from longshore.router.uniform import MOST_BUFFERED
from longshore.router.upstream import Upstream
from longshore.router.workers.rest import is_own

_OF_A_ROUTER = frozenset({"/v1", "/healthz", "/readyz", "/metrics"})
"""What a router answers itself, besides predictions."""


def build_app(
    platform: Platform, table: Table, colleagues: Colleagues | None = None
) -> DocumentedApp:
    """Return the application.

    Args:
        platform: what management calls ask for, and who may call.
        table: where prediction requests go; the controller keeps it up to date.
        colleagues: other processes on the same database, if there may be any. While one of them
            leads, it gets the calls of management: what they ask for is done by it.
    """
    rest = _to_leader(platform, colleagues.knows) if colleagues else None
    app = _with_predictions(platform, table, rest)
    app.include_router(management_routes(platform))
    app.include_router(operation_routes(platform, table))
    app.include_router(static_routes())
    app.include_router(page_routes(platform, table))
    if colleagues and rest:
        app.include_router(internal_routes(colleagues))

        def is_own(scope: Scope) -> bool:
            if not scope["path"].startswith("/api/") or was_passed_on(scope):
                return True
            leader = colleagues.knows.leader()
            return leader is None or not leader.address

        app.add_middleware(Elsewhere, rest=rest, is_own=is_own)
    app.add_middleware(RequestId)
    app.add_middleware(Expectation)
    return app


def build_worker_app(front: Front, table: Table, rest: PassingOn) -> DocumentedApp:
    """Return the application of a worker, which answers predictions and passes on everything else.

    Args:
        front: the contracts and who may call.
        table: where prediction requests go; the parent keeps it up to date.
        rest: the way to the parent.
    """
    app = _with_predictions(front, table)
    app.include_router(health_routes())
    app.add_middleware(Elsewhere, rest=rest, is_own=is_own)
    app.add_middleware(RequestId)
    app.add_middleware(Expectation)
    return app


def build_router_app(
    front: Front, table: Table, knows: KnowsLeader, unready: Callable[[], str]
) -> DocumentedApp:
    """Return the application of a router, which passes on to the leader what it does not answer.

    Args:
        front: the contracts and who may call.
        table: where prediction requests go.
        knows: who leads.
        unready: returns why requests cannot be routed yet; empty once they can.
    """
    rest = _to_leader(front, knows)
    app = _with_predictions(front, table, rest)
    app.include_router(health_routes())
    app.include_router(ready_routes(unready))
    app.include_router(metrics_routes(table))

    def is_own(scope: Scope) -> bool:
        path: str = scope["path"]
        return path.startswith(("/v1/", "/internal/")) or path in _OF_A_ROUTER

    app.add_middleware(Elsewhere, rest=rest, is_own=is_own)
    app.add_middleware(RequestId)
    app.add_middleware(Expectation)
    return app


def _to_leader(front: Front, knows: KnowsLeader) -> PassingOn:
    return to_leader(knows, min(front.settings.max_body, MOST_BUFFERED))


def _with_predictions(front: Front, table: Table, rest: PassingOn | None = None) -> DocumentedApp:
    """Return an application that predicts, with all its layers but the outermost.

    Args:
        front: the contracts and who may call.
        table: where prediction requests go.
        rest: a way to another process, to be open as long as the application is.
    """
    upstream = Upstream()
    shadows = Shadows(table, upstream)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        passing = rest.running() if rest else nullcontext()
        async with upstream.running(), shadows.running(), passing:
            yield

    app = DocumentedApp(
        title="Longshore",
        summary="Bring your own container, and have it served, scaled and kept running.",
        version=version("longshore"),
        lifespan=lifespan,
        redirect_slashes=False,
        responses=ANY_PROBLEM,
    )
    app.authenticates = front.authenticates
    callers = Callers(time.monotonic)
    app.lane = _lane(front, table, callers)
    app.watch = Watch(EdgeLimits.of(front.settings))
    # The key that opened Longshore is none of a model's business.
    strip = (b"authorization",) if front.authenticates else ()
    app.include_router(prediction_routes(front, table, upstream, shadows, strip))
    _add_error_handlers(app)
    # The one that is added last is called first.
    app.add_middleware(BodyLimit, most=min(front.settings.max_body, MOST_BUFFERED))
    if front.authenticates:
        app.add_middleware(Authentication, platform=front, callers=callers)
    else:
        app.add_middleware(Fence, host=front.settings.host)
    return app


def _lane(front: Front, table: Table, callers: Callers) -> Lane:
    host = front.settings.host
    on_loopback = is_loopback(host)
    return Lane(
        table,
        most=front.settings.max_body,
        # As the gate and the fence have it, for the requests that they do not see.
        is_our_host=lambda given: is_host(given) and (not on_loopback or names_us(given, host)),
        # Plugins that recognise callers may take their time, which only the long way has.
        callers=callers if front.authenticates else None,
    )


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(LongshoreError)
    async def on_longshore_error(request: Request, error: LongshoreError) -> Response:
        return _response(request, problems.problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        is_json = "json" in request.headers.get("content-type", "")
        hint = "" if is_json else "Send a JSON body with Content-Type: application/json."
        return _response(request, problems.invalid_request(error.errors(), hint=hint))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        # FastAPI wraps whatever ends the reading of a body.
        if isinstance(error.__cause__, LongshoreError):
            return _response(request, problems.problem_of(error.__cause__))
        path = request.url.path
        return _response(
            request, problems.unrouted(error.status_code, request.method, path, error.headers)
        )


def _response(request: Request, problem: problems.Problem) -> Response:
    return Response(
        problem.body(request.state.request_id),
        problem.status,
        headers=dict(problem.headers),
        media_type=problems.MEDIA_TYPE,
    )
