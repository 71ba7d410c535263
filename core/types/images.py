"""What was found out of an image, with the evidence."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import JsonValue

from longshore.core.types.base import Digest, Port, Value


class Confidence(StrEnum):
    """How sure a fact is."""

    EXACT = "exact"
    DECLARED = "declared"
    INFERRED = "inferred"
    UNKNOWN = "unknown"


class Evidence(Value):
    """One fact, where it was read, and how sure it is."""

    value: JsonValue
    source: str
    confidence: Confidence


class ImageConfig(Value):
    """The parts of an OCI image configuration that Longshore reads."""

    architecture: str = ""
    os: str = ""
    env: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tcp_ports: tuple[Port, ...] = ()
    """Exposed TCP ports, lowest first."""


class Image(Value):
    """An image as a registry holds it, found by what the user wrote."""

    reference: str
    """As the user wrote it."""
    repository: str
    """Registry host and path, complete: ``docker.io/library/python``."""
    digest: Digest
    """Digest of the manifest or index that the reference named at that moment."""
    platforms: tuple[str, ...] = ()
    """``os/architecture[/variant]`` of each image behind the digest."""
    size_bytes: int = 0
    """Compressed size of the layers for this machine's platform."""
    config: ImageConfig = ImageConfig()

    @property
    def pinned(self) -> str:
        """The reference that always names these very bytes."""
        return f"{self.repository}@{self.digest}"


class ImageProfile(Value):
    """What inspection found in an image."""

    image: Image
    facts: Mapping[str, Evidence] = {}
