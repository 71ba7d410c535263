"""The management endpoints under /api: one for each use case of the platform."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from longshore.core.collection import Collection
from longshore.core.errors import InvalidInput, NotFound
from longshore.core.measures import Measured
from longshore.core.names import VersionKey, check_model_name, check_version_name
from longshore.core.platform import Plan, Platform
from longshore.core.traffic import warnings
from longshore.core.types import (
    Decision,
    Digest,
    Event,
    KnownNode,
    Model,
    TrafficRule,
    VersionRecord,
    VersionSpec,
    Wake,
)
from longshore.router import openapi

FIRST_LINE = 1.0
"""Seconds that a log's first line is waited for before the answer begins without one."""

Name = Annotated[str, Path(description="The model's name.")]
Number = Annotated[str, Path(description="The version.")]
Force = Annotated[
    bool, Query(description="Although no node fits, and a rule refuses it: one may come that does.")
]

VERSION = "/models/{name}/versions/{version}"


class Deleted(BaseModel):
    """What was deleted."""

    deleted: list[str]
    """Versions as ``name:version``."""


class Models(BaseModel):
    """All models, by name."""

    models: Sequence[Model]


class Nodes(BaseModel):
    """All nodes, by backend."""

    nodes: Sequence[KnownNode]


class Measures(BaseModel):
    """What was measured of an image, for each kind of settings that it ran with; newest first."""

    measures: Sequence[Measured]


class Decisions(BaseModel):
    """What was decided about a version, oldest first."""

    decisions: Sequence[Decision]


class Wakes(BaseModel):
    """The newest wakes of a version, oldest of them first."""

    wakes: Sequence[Wake]


class Events(BaseModel):
    """The newest events, oldest of them first."""

    events: Sequence[Event]


class Shared(Model):
    """A model whose traffic rule was replaced."""

    warnings: Sequence[str] = ()
    """What the rule will not do as things are: a version that it names is not ready, say."""


def management_routes(platform: Platform) -> APIRouter:
    """Return the endpoints."""
    router = APIRouter(prefix="/api", tags=["management"], responses=openapi.problems(503))
    _add_models(router, platform)
    _add_versions(router, platform)
    _add_history(router, platform)
    _add_collection(router, platform)
    _add_nodes(router, platform)
    return router


def _add_nodes(router: APIRouter, platform: Platform) -> None:
    @router.get("/nodes", summary="List all nodes")
    async def list_nodes() -> Nodes:
        """Return the nodes of all backends, and what is known of each."""
        return Nodes(nodes=await platform.nodes())

    @router.get(
        "/measures/{digest}",
        summary="Tell what an image used while it ran",
        responses=openapi.problems(422),
    )
    async def measures(
        digest: Annotated[
            Digest, Path(description="Of the image: `sha256:...`, as its versions tell it.")
        ],
    ) -> Measures:
        """Return the most memory that replicas used; nothing of an image that never ran."""
        return Measures(measures=await platform.measures(digest))


def _add_collection(router: APIRouter, platform: Platform) -> None:
    @router.get("/collection", summary="Tell what would be collected")
    async def plan_collection() -> Collection:
        """Return what a round of collection would do now with each version, and why."""
        return await platform.plan_collection()

    @router.post("/collection", summary="Collect now")
    async def collect() -> Collection:
        """Collect the versions that nobody called for their retention time."""
        return await platform.collect()

    @router.post(VERSION + "/pin", summary="Pin a version", responses=openapi.problems(404, 422))
    async def pin(name: Name, version: Number) -> VersionRecord:
        """Let a version never be collected."""
        key = known_version(name, version)
        await platform.pin(key, pinned=True)
        return await platform.version(key)

    @router.post(VERSION + "/unpin", summary="Unpin a version", responses=openapi.problems(404))
    async def unpin(name: Name, version: Number) -> VersionRecord:
        """Let a version be collected when nobody calls it for its retention time."""
        key = known_version(name, version)
        await platform.pin(key, pinned=False)
        return await platform.version(key)


def _add_models(router: APIRouter, platform: Platform) -> None:
    @router.get("/models", summary="List all models")
    async def list_models() -> Models:
        """Return all models with their versions, by name."""
        return Models(models=await platform.models())

    @router.get("/models/{name}", summary="Read a model", responses=openapi.problems(404))
    async def read_model(name: Name) -> Model:
        """Return one model with its versions, oldest first."""
        return await platform.model(_existing(name))

    @router.delete("/models/{name}", summary="Delete a model", responses=openapi.problems(404))
    async def delete_model(name: Name) -> Deleted:
        """Forget a model with all its versions; their containers go after their last answers."""
        keys = await platform.delete_model(_existing(name))
        return Deleted(deleted=[str(key) for key in keys])

    @router.put(
        "/models/{name}/traffic",
        summary="Share a model's requests among versions",
        responses=openapi.problems(404, 422),
    )
    async def set_traffic(name: Name, rule: TrafficRule) -> Shared:
        """Replace the whole traffic rule: what is left out of it is not kept.

        Without weights the newest ready version gets all requests. A rule that names a version
        which is not ready is taken, with a warning.
        """
        await platform.set_traffic(_existing(name), rule)
        model = await platform.model(name)
        return Shared(**dict(model), warnings=warnings(model))


def _add_versions(router: APIRouter, platform: Platform) -> None:
    @router.put(
        VERSION,
        summary="Register a version",
        responses={
            **openapi.problems(409, 422, 502),
            200: {"description": "The same content was registered already; nothing changed."},
            201: {"description": "Registered now.", "model": VersionRecord},
        },
    )
    async def register(
        name: Name, version: Number, spec: VersionSpec, response: Response, force: Force = False
    ) -> VersionRecord:
        """Register a version, and let it be started. A version never changes afterwards."""
        registered = await platform.register(new_version(name, version), spec, force=force)
        if registered.created:
            response.status_code = status.HTTP_201_CREATED
        return registered.record

    @router.post(
        VERSION + "/preflight",
        summary="Work out what registering would do",
        responses=openapi.problems(422),
    )
    async def preflight(
        name: Name, version: Number, spec: VersionSpec, force: Force = False
    ) -> Plan:
        """Return the version and every decision about it, and store nothing."""
        return await platform.preflight(new_version(name, version), spec, force=force)

    @router.get(VERSION, summary="Read a version", responses=openapi.problems(404))
    async def read_version(name: Name, version: Number) -> VersionRecord:
        """Return one version, what is wished of it and what became of that."""
        return await platform.version(known_version(name, version))

    @router.delete(VERSION, summary="Delete a version", responses=openapi.problems(404))
    async def delete_version(name: Name, version: Number) -> Deleted:
        """Forget a version; its containers go after their last answers."""
        key = known_version(name, version)
        await platform.delete(key)
        return Deleted(deleted=[str(key)])

    @router.post(
        VERSION + "/wake",
        summary="Wake a version",
        status_code=status.HTTP_202_ACCEPTED,
        responses=openapi.problems(404, 422),
    )
    async def wake(name: Name, version: Number) -> VersionRecord:
        """Start a sleeping version, and a failed one at once instead of at its next try."""
        key = known_version(name, version)
        await platform.wake(key)
        return await platform.version(key)

    @router.post(
        VERSION + "/sleep",
        summary="Put a version to sleep",
        status_code=status.HTTP_202_ACCEPTED,
        responses=openapi.problems(404, 422),
    )
    async def sleep(name: Name, version: Number) -> VersionRecord:
        """Stop a version's replicas until somebody wakes or calls it."""
        key = known_version(name, version)
        await platform.sleep(key)
        return await platform.version(key)


def _add_history(router: APIRouter, platform: Platform) -> None:
    @router.get(
        VERSION + "/logs",
        summary="Read a version's log",
        response_class=StreamingResponse,
        responses={**openapi.TEXT_ANSWER, **openapi.problems(404)},
    )
    async def logs(
        name: Name,
        version: Number,
        tail: Annotated[int, Query(ge=0, le=10_000, description="Lines per replica.")] = 100,
        follow: Annotated[bool, Query(description="Go on with new lines.")] = False,
    ) -> StreamingResponse:
        """Stream what the containers wrote, oldest first."""
        lines = platform.logs(known_version(name, version), tail=tail, follow=follow)
        return StreamingResponse(
            await _begun(lines),
            media_type="text/plain; charset=utf-8",
            # It is the model's text; no browser should guess that it is a page.
            headers={"x-content-type-options": "nosniff", "cache-control": "no-store"},
        )

    @router.get(
        VERSION + "/decisions", summary="Explain a version", responses=openapi.problems(404)
    )
    async def decisions(name: Name, version: Number) -> Decisions:
        """Return what was decided about a version, by which plugin and why; oldest first."""
        return Decisions(decisions=await platform.decisions(known_version(name, version)))

    @router.get(
        VERSION + "/wakes", summary="Read a version's wakes", responses=openapi.problems(404)
    )
    async def wakes(name: Name, version: Number) -> Wakes:
        """Return the newest wakes, oldest of them first."""
        return Wakes(wakes=await platform.wakes(known_version(name, version)))

    @router.get("/events", summary="Read what happened", responses=openapi.problems(422))
    async def events(
        version: Annotated[
            str | None, Query(description="Only those of one version: `NAME:VERSION`.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Events:
        """Return the newest events, oldest of them first."""
        return Events(events=await platform.events(_parsed(version) if version else None, limit))


async def _begun(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Wait for the first line, so that a log that cannot be read is still a proper error."""
    first = asyncio.ensure_future(anext(lines, None))
    await asyncio.wait([first], timeout=FIRST_LINE)
    if first.done():
        first.result()
    return _encoded(first, lines)


async def _encoded(
    first: asyncio.Future[str | None], rest: AsyncIterator[str]
) -> AsyncIterator[bytes]:
    try:
        line = await first
        while line is not None:
            yield f"{line}\n".encode(errors="replace")
            line = await anext(rest, None)
    finally:
        first.cancel()


def _existing(name: str) -> str:
    try:
        return check_model_name(name)
    except ValueError as error:
        raise NotFound(str(error)) from error


def known_version(name: str, version: str) -> VersionKey:
    """Return the version that a path names.

    Raises:
        NotFound: nothing can be called so.
    """
    try:
        return VersionKey(_existing(name), check_version_name(version))
    except ValueError as error:
        raise NotFound(str(error)) from error


def new_version(name: str, version: str) -> VersionKey:
    """Return the version that a path names, and that may be new.

    Raises:
        InvalidInput: nothing can be called so.
    """
    try:
        return VersionKey(check_model_name(name), check_version_name(version))
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def _parsed(text: str) -> VersionKey:
    try:
        return VersionKey.parse(text)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
