"""What is asked about requests: which replica gets one, and how a container takes it."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import JsonValue

from longshore.core.types import (
    Endpoint,
    ImageProfile,
    Serving,
    VersionSpec,
)


class Candidate(Protocol):
    """A replica that has a free slot, as the router shows it to a balancer."""

    @property
    def endpoint(self) -> Endpoint:
        """The replica."""

    @property
    def in_flight(self) -> int:
        """How many requests this router has on it now."""


C = TypeVar("C", bound=Candidate)


class Balancer(Protocol):
    """Chooses a replica for each request to one version; called on the request path."""

    def pick(self, candidates: Sequence[C]) -> C:
        """Return one of the candidates, which are never empty. It must not block."""


class Contract(Protocol):
    """One way in which containers expect to be probed and called."""

    @property
    def name(self) -> str:
        """What ``--contract`` calls it."""

    def detect(self, spec: VersionSpec, image: ImageProfile) -> Serving | None:
        """Return how to serve this image if it looks like this contract, with the evidence.

        What the spec declares (port, paths) always wins over what the image says. If the spec
        names this contract, the answer must not be None.
        """

    def encode(self, features: JsonValue) -> tuple[bytes, str]:
        """Turn the platform's uniform features into a request body and its content type.

        Raises:
            InvalidInput: this contract cannot carry these features.
        """

    def decode(self, body: bytes, content_type: str) -> JsonValue:
        """Turn the container's answer into the predictions of the uniform answer.

        Raises:
            ValueError: it is not what the contract promises.
        """
