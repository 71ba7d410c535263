"""What processes of one installation ask of each other over HTTP."""

import hmac
from dataclasses import dataclass

from fastapi import APIRouter, Request
from pydantic import ValidationError

from longshore.core.errors import InvalidInput, Unavailable
from longshore.core.leadership import Leadership
from longshore.core.reports import Reply, Report, Reports
from longshore.router.errors import Unauthenticated

LOADS = "/internal/loads"
"""Where routers report to the leader; its token stands in the registry, and opens nothing else."""


@dataclass(frozen=True, slots=True)
class Colleagues:
    """Other processes on the same database."""

    knows: Leadership
    reports: Reports


def internal_routes(colleagues: Colleagues) -> APIRouter:
    """Return the endpoint for reports."""
    router = APIRouter(include_in_schema=False)

    @router.post(LOADS)
    async def loads(request: Request) -> Reply:
        """Take a router's report."""
        token = colleagues.knows.token
        if not token:
            raise Unavailable("this process does not lead", hint="The registry says who does.")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Unauthenticated(
                "this is not the token of the leader",
                hint="Only processes on the same database report here.",
            )
        try:
            report = Report.model_validate_json(await request.body())
        except ValidationError as error:
            raise InvalidInput(
                f"no report that this release knows: {error.errors()[0]['msg']}",
                hint="Routers and controllers should be of one release.",
            ) from error
        return colleagues.reports.take(report)

    return router
