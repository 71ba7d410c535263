"""The prediction endpoints under /v1. Bodies are relayed as they are, but for the uniform call."""

from collections.abc import Iterable
from http import HTTPMethod
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from longshore.core.errors import NotFound
from longshore.core.front import Front
from longshore.router import openapi
from longshore.router.errors import NotSupported
from longshore.router.headers import combined
from longshore.router.relay import Relay
from longshore.router.routed import RoutedVersion
from longshore.router.shadow import Copy, Shadows
from longshore.router.table import Table
from longshore.router.uniform import PredictAnswer, PredictRequest, Uniform
from longshore.router.upgrade import Upgrade
from longshore.router.upstream import Upstream

RAW_METHODS = tuple(each for each in HTTPMethod if each is not HTTPMethod.CONNECT)

_WITH_BODY = frozenset({HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.PATCH})

_RAW_DEPTH = 7
"""How many slashes stand before the container's path in a raw call's own."""

Name = Annotated[str, Path(description="The model's name.")]
Number = Annotated[str, Path(description="The version.")]


def prediction_routes(
    platform: Front,
    table: Table,
    upstream: Upstream,
    shadows: Shadows,
    strip: Iterable[bytes],
) -> APIRouter:
    """Return the endpoints.

    Args:
        platform: knows the contracts and the settings.
        table: knows where requests go.
        upstream: the way there.
        shadows: copies for other versions.
        strip: names of request headers that are not for containers.
    """
    router = APIRouter(prefix="/v1", tags=["predictions"])
    uniform = Uniform(table, upstream, shadows, platform, strip)

    def relay(version: RoutedVersion, target: str, copy: Copy | None = None) -> Relay:
        return Relay(
            table,
            version,
            upstream,
            target=target,
            most=platform.settings.max_body,
            strip=strip,
            copy=copy,
        )

    def predict_path(version: RoutedVersion, request: Request) -> str:
        if "upgrade" in request.headers:
            raise NotSupported(
                "predictions are asked for in plain HTTP, and this request offers an upgrade",
                hint="WebSockets and other upgrades go to "
                "/v1/models/NAME/versions/VERSION/raw/PATH.",
            )
        return version.route.version.serving.predict_path + _query(request)

    relayed = {**openapi.OPAQUE_ANSWER, **openapi.problems(404, 413, 502, 503, 504)}

    @router.post(
        "/models/{name}/versions/{version}/predict",
        summary="Ask one version",
        response_class=Response,
        responses=relayed,
        openapi_extra=openapi.OPAQUE_REQUEST,
    )
    async def predict_version(name: Name, version: Number, request: Request) -> Response:
        """Pass the body to the container's predict path, and its answer back, unchanged."""
        found = table.version(name, version)
        return relay(found, predict_path(found, request))

    @router.post(
        "/models/{name}/predict",
        summary="Ask a model",
        response_class=Response,
        responses=relayed,
        openapi_extra=openapi.OPAQUE_REQUEST,
    )
    async def predict_model(name: Name, request: Request) -> Response:
        """Do the same with the version that the model's traffic rule picks.

        Where the rule is sticky, the same value of its header gets the same version; where it has a
        shadow, that gets a copy of the request, of which the caller notices nothing.
        """
        received = request.scope["headers"]
        found = table.choose(name, lambda header: combined(received, header))
        copy = shadows.copy(found, lambda version: predict_path(version, request))
        return relay(found, predict_path(found, request), copy)

    @router.post(
        "/predict",
        summary="Ask in the uniform way",
        response_model=PredictAnswer,
        responses=openapi.problems(400, 404, 413, 422, 502, 503, 504),
    )
    async def predict(asked: PredictRequest, request: Request) -> Response:
        """Translate features for the container by its contract, and its answer to predictions.

        A container that answers with an error is passed on as a problem with its status.
        """
        return await uniform.predict(asked, request)

    async def raw(name: Name, version: Number, path: str, request: Request) -> Response:
        """Call any path of the container, streamed both ways; the path is kept as received.

        A request that offers an upgrade, to a WebSocket for instance, becomes a tunnel.
        """
        target = _raw_target(request)
        found = table.version(name, version)
        if "upgrade" in request.headers:
            return Upgrade(
                table,
                found,
                upstream,
                target=target,
                most=0,
                strip=strip,
                within=platform.settings.tunnel_total,
            )
        return relay(found, target)

    for method in RAW_METHODS:
        router.add_api_route(
            "/models/{name}/versions/{version}/raw/{path:path}",
            raw,
            methods=[method.value],
            operation_id=f"raw_{method.value.lower()}",
            summary="Call any path of the container",
            response_class=Response,
            responses={**relayed, **openapi.problems(501)},
            openapi_extra=openapi.OPAQUE_REQUEST if method in _WITH_BODY else None,
        )
    return router


def _query(request: Request) -> str:
    query: bytes = request.scope["query_string"]
    return f"?{query.decode('latin-1')}" if query else ""


def _raw_target(request: Request) -> str:
    """Return what follows ``/raw`` in the target as the client wrote it."""
    parts = request.scope["raw_path"].split(b"/", _RAW_DEPTH)
    # An encoded slash in a name would shift the parts against those that the route matched.
    if len(parts) <= _RAW_DEPTH or parts[_RAW_DEPTH - 1] != b"raw":
        raise NotFound(f"there is nothing at {request.url.path}")
    return f"/{parts[_RAW_DEPTH].decode('latin-1')}{_query(request)}"
