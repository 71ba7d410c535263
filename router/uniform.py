"""The platform's own uniform call: features in, predictions out, whatever the container speaks."""

import logging
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from longshore.core.errors import InvalidInput, LongshoreError, Unavailable
from longshore.core.front import Front
from longshore.core.names import ModelName, VersionName
from longshore.core.protocols import Contract
from longshore.router.admission import Slot
from longshore.router.client import Client, ClientLeft
from longshore.router.errors import ContainerError, ReplicaFailed
from longshore.router.headers import COLD_START, combined
from longshore.router.problems import problem_of
from longshore.router.relay import ABORTED, headers_for
from longshore.router.routed import RoutedVersion
from longshore.router.shadow import Copy, Shadows
from longshore.router.table import Table
from longshore.router.upstream import Answer, HeadersFor, Outgoing, Upstream, in_pieces
from longshore.router.waiting import admitted

log = logging.getLogger(__name__)

MOST_BUFFERED = 16 * 2**20
"""Largest body and answer of a uniform call, in bytes: both are held whole to be translated."""

_EXCERPT = 1000

# These describe the client's body, or an answer that only the client could read.
_OF_THE_ENVELOPE = (
    b"accept",
    b"accept-encoding",
    b"content-encoding",
    b"content-length",
    b"content-type",
)


class PredictRequest(BaseModel):
    """A request for predictions."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: ModelName
    version: VersionName | None = None
    """The version; the model's traffic rule picks one if left out."""
    features: JsonValue = Field(examples=[[[5.1, 3.5, 1.4, 0.2]]])
    """The input, usually a list of rows; the version's contract translates it."""


class PredictAnswer(BaseModel):
    """The predictions, and who made them."""

    model: ModelName
    version: VersionName
    predictions: JsonValue


class Uniform:
    """Answers uniform calls.

    Args:
        table: where the versions are.
        upstream: the way to them.
        shadows: copies for other versions.
        front: how to talk to them.
        strip: names of request headers that are not for containers.
    """

    def __init__(
        self,
        table: Table,
        upstream: Upstream,
        shadows: Shadows,
        front: Front,
        strip: Iterable[bytes],
    ) -> None:
        self._table = table
        self._upstream = upstream
        self._shadows = shadows
        self._front = front
        self._strip = (*strip, *_OF_THE_ENVELOPE)

    async def predict(self, asked: PredictRequest, request: Request) -> Response:
        """Translate a request, let a replica answer it, and translate the answer."""
        copy = None
        if asked.version:
            version = self._table.version(asked.model, asked.version)
        else:
            received = request.scope["headers"]
            version = self._table.choose(asked.model, lambda name: combined(received, name))
            copy = self._shadows.copy(version, _target)
        clock = self._table.clock
        arrived, outcome = clock(), ABORTED
        version.meter.arrived(arrived)
        try:
            response = await self._predict(version, asked.features, request, copy)
            outcome = "2xx"
        except ClientLeft:
            return Response(status_code=499)  # nobody reads it
        except LongshoreError as error:
            outcome = f"{problem_of(error).status // 100}xx"
            raise
        finally:
            version.meter.ended(outcome, arrived, clock())
        return response

    async def _predict(
        self,
        version: RoutedVersion,
        features: JsonValue,
        request: Request,
        copy: Copy | None,
    ) -> Response:
        headers, body = self._translated(version, features, request.scope)
        outgoing = Outgoing("POST", _target(version), headers, in_pieces(body))
        client = Client(request.receive, (), most=0, hint="")
        with await admitted(self._table, version, client) as slot:
            if copy:
                shadow, scope = copy.version, request.scope
                copy.send(lambda: self._translated(shadow, features, scope))
            async with client.attached():
                client.listen()
                async with self._upstream.exchange(slot, outgoing) as answer:
                    theirs = await _read(slot, answer)
            predictions = self._decoded(slot, answer, theirs)
        told = {"x-longshore-version": str(version.key)}
        if slot.held:
            slot.held.answering(self._table.clock())
            told[COLD_START.decode()] = f"{slot.held.waited:.3f}"
        key = version.key
        document = {"model": key.name, "version": key.version, "predictions": predictions}
        return Response(
            # What JSON has no word for (NaN, infinities) becomes null.
            to_json(document, inf_nan_mode="null"),
            media_type="application/json",
            headers=told,
        )

    def _translated(
        self, version: RoutedVersion, features: JsonValue, scope: Scope
    ) -> tuple[HeadersFor, bytes]:
        """Return a request as the version's contract has it: what makes its headers, its body."""
        body, content_type = self._encoded(version, features)
        headers = headers_for(scope, self._strip)
        described = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        return lambda address: [*headers(address), *described], body

    def _contract(self, version: RoutedVersion) -> Contract:
        name = version.route.version.serving.contract
        contract = self._front.contracts.get(name)
        if contract is None:
            raise Unavailable(
                f"{version.key} speaks the contract {name}, which no enabled plugin brings",
                hint=f"Enable it in plugins.toml, or call /v1/models/{version.key.name}/predict, "
                "which needs no translation.",
            )
        return contract

    def _encoded(self, version: RoutedVersion, features: JsonValue) -> tuple[bytes, str]:
        contract = self._contract(version)
        try:
            return contract.encode(features)
        except InvalidInput as error:
            place = error.pointer
            if not place.startswith("/features"):
                place = "/features" + place
            raise InvalidInput(error.message, pointer=place, hint=error.hint) from error
        except Exception as error:
            raise self._defect(contract, error) from error

    def _decoded(self, slot: Slot, answer: Answer, body: bytes) -> JsonValue:
        key, contract = slot.version.key, self._contract(slot.version)
        if answer.status // 100 != 2:  # noqa: PLR2004 - the class of success
            raise ContainerError(key, answer.status, body[:_EXCERPT].decode(errors="replace"))
        kinds = (value for name, value in answer.headers if name == b"content-type")
        try:
            return contract.decode(body, next(kinds, b"").decode("latin-1"))
        except ValueError as error:
            replica = slot.replica.endpoint.replica
            told = f"answered what the contract {contract.name} does not promise: {error}"
            raise ReplicaFailed(key, replica, told) from error
        except Exception as error:
            raise self._defect(contract, error) from error

    def _defect(self, contract: Contract, error: Exception) -> LongshoreError:
        """Name the plugin that has a defect; what it said is for the log alone."""
        hooks, doing = self._front.hooks, f"contract {contract.name}"
        told = hooks.blame("longshore_contract", contract, error, doing)
        log.error("%s", told, exc_info=error)
        return LongshoreError(
            f"plugin {hooks.giver(contract)} failed in longshore_contract ({doing}): "
            f"{type(error).__name__}",
            hint="This is a defect of the plugin; Longshore's log tells more.",
        )


def _target(version: RoutedVersion) -> str:
    return version.route.version.serving.predict_path


async def _read(slot: Slot, answer: Answer) -> bytes:
    held = bytearray()
    async for piece in answer.body.iter_any():
        held += piece
        if len(held) > MOST_BUFFERED:
            replica = slot.replica.endpoint.replica
            told = f"answered more than {MOST_BUFFERED} bytes, too many to translate"
            raise ReplicaFailed(slot.version.key, replica, told)
    return bytes(held)
