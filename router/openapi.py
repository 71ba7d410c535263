"""What /openapi.json tells beyond what FastAPI finds out by itself: problems and opaque bodies."""

from typing import Any

from fastapi import FastAPI

from longshore.router.edge import Watch
from longshore.router.lane import Lane
from longshore.router.problems import MEDIA_TYPE, ProblemDocument

_PROBLEM = {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}

_MEANINGS = {
    400: "The body cannot be read.",
    404: "There is no such model or version; `nearest` lists names that resemble it.",
    409: "The number is taken by other content.",
    413: "The body is too large.",
    422: "The input cannot be accepted; `errors` points at each field at fault.",
    501: "Longshore cannot do this yet.",
    502: "The container gave no usable answer.",
    503: "Not ready, or all replicas are busy; the detail says why.",
    504: "The container was too slow; `phase` names the limit.",
}

Responses = dict[int | str, dict[str, Any]]

ANY_PROBLEM: Responses = {
    "default": {"description": "A problem document (RFC 9457).", "content": {MEDIA_TYPE: _PROBLEM}}
}

OPAQUE = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
"""The content of a body that Longshore does not look into."""

OPAQUE_REQUEST = {"requestBody": {"description": "Passed on as it is.", "content": OPAQUE}}

OPAQUE_ANSWER: Responses = {
    200: {
        "description": "The container's own answer, with its own status.",
        "content": OPAQUE,
        "headers": {
            "x-longshore-version": {
                "description": "Which version answered: `name:version`.",
                "schema": {"type": "string"},
            },
            "x-longshore-cold-start": {
                "description": "Seconds that the request was held while its version was woken.",
                "schema": {"type": "number"},
            },
        },
    }
}

TEXT_ANSWER: Responses = {
    200: {"description": "Plain text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def problems(*statuses: int) -> Responses:
    """Return the documentation of the problems that a call may answer with."""
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: _PROBLEM}}
        for status in statuses
    }


class DocumentedApp(FastAPI):
    """FastAPI, with the schema of problem documents and the ways to authenticate."""

    authenticates = False
    """Whether calls need a bearer key."""
    lane: Lane | None = None
    """Serves what need not come here at all."""
    watch: Watch | None = None
    """Looks after the connections."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            components = document.setdefault("components", {})
            template = "#/components/schemas/{model}"
            components.setdefault("schemas", {})["ProblemDocument"] = (
                ProblemDocument.model_json_schema(ref_template=template)
            )
            if self.authenticates:
                components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"key": []}]
            self.openapi_schema = document
        return self.openapi_schema
