"""What registries answer, read into typed values: manifests, indexes and image configurations.

Both dialects, OCI's and Docker's, have the same fields. All of it was written by strangers: what
does not fit is refused in words, and nothing here trusts a content type.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from longshore.core.errors import InvalidInput
from longshore.core.types import Digest, ImageConfig

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join(_MANIFESTS)
_IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
_SECOND_SCHEMA = 2

Word = Annotated[str, StringConstraints(max_length=64)]


class Wire(BaseModel):
    """Something that a registry sent; fields that Longshore does not read are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Platform(Wire):
    """What an image runs on."""

    os: Word
    architecture: Word
    variant: Word = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Descriptor(Wire):
    """A pointer to other content."""

    media_type: str = Field(default="", alias="mediaType", max_length=255)
    digest: Digest
    size: int = Field(ge=0)
    platform: Platform | None = None
    annotations: Mapping[str, str] | None = None


class Manifest(Wire):
    """An image's manifest or an index of several; each has its own half of the fields."""

    schema_version: int = Field(default=0, alias="schemaVersion")
    manifests: tuple[Descriptor, ...] | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()


class _Container(Wire):
    env: tuple[str, ...] | None = Field(default=None, alias="Env")
    labels: Mapping[str, str] | None = Field(default=None, alias="Labels")
    entrypoint: tuple[str, ...] | None = Field(default=None, alias="Entrypoint")
    cmd: tuple[str, ...] | None = Field(default=None, alias="Cmd")
    user: str = Field(default="", alias="User")
    working_dir: str = Field(default="", alias="WorkingDir")
    ports: Mapping[str, object] | None = Field(default=None, alias="ExposedPorts")


class _Config(Wire):
    os: Word = ""
    architecture: Word = ""
    variant: Word = ""
    config: _Container | None = None


def read_manifest(content: bytes, what: str) -> Manifest:
    """Read a manifest or index.

    Args:
        content: as received.
        what: whose it is, for messages.

    Raises:
        InvalidInput: it is neither, is of the obsolete schema 1, or is no container image's.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _unreadable("manifest", what, error) from error
    if manifest.schema_version != _SECOND_SCHEMA:
        raise InvalidInput(
            f"the manifest of {what} is of schema {manifest.schema_version}, "
            "and Longshore reads schema 2 only",
            pointer="/image",
            hint="Push the image again with a current docker or podman.",
        )
    if manifest.manifests is not None and manifest.config is not None:
        raise InvalidInput(
            f"the manifest of {what} claims to be an image and an index at once",
            pointer="/image",
        )
    if manifest.manifests is None and manifest.config is None:
        raise InvalidInput(f"the manifest of {what} names no configuration", pointer="/image")
    if manifest.config and manifest.config.media_type not in _IMAGE_CONFIGS:
        raise InvalidInput(
            f"{what} is no container image, but {manifest.config.media_type!r}", pointer="/image"
        )
    return manifest


def platforms(index: Sequence[Descriptor]) -> tuple[str, ...]:
    """Return the platforms that an index offers, each once, in its order."""
    return tuple(dict.fromkeys(str(each.platform) for each in index if _runs(each)))


def choose(index: Sequence[Descriptor], wanted: Platform, what: str) -> Descriptor:
    """Return the entry of an index for a platform.

    Of several variants, the wanted one is taken, else the one that asks least of the processor.

    Raises:
        InvalidInput: there is none for it; the message lists those there are.
    """
    if len(index) == 1 and index[0].platform is None:
        return index[0]
    fitting = [
        (each.platform.variant != wanted.variant, each.platform.variant, position)
        for position, each in enumerate(index)
        if each.platform
        and each.platform.os == wanted.os
        and each.platform.architecture == wanted.architecture
    ]
    if not fitting:
        raise InvalidInput(
            f"{what} has no image for {wanted}; it has: {', '.join(platforms(index)) or 'none'}",
            pointer="/image",
            hint=f"Build it for {wanted} too: docker buildx build --platform {wanted} ...",
        )
    return index[min(fitting)[2]]


def read_config(content: bytes, what: str) -> tuple[ImageConfig, str]:
    """Read an image configuration, and the platform that it is for.

    Raises:
        InvalidInput: it is none.
    """
    # No process can be given a NUL, and not every database can store one.
    if b"\\u0000" in content:
        raise InvalidInput(f"the configuration of {what} holds a NUL character", pointer="/image")
    try:
        found = _Config.model_validate_json(content)
        container = found.config or _Container()
        config = ImageConfig(
            architecture=found.architecture,
            os=found.os,
            env=dict(each.split("=", 1) for each in container.env or () if "=" in each),
            labels=container.labels or {},
            entrypoint=container.entrypoint or (),
            cmd=container.cmd or (),
            user=container.user,
            working_dir=container.working_dir,
            tcp_ports=_tcp_ports(container.ports or {}),
        )
    except ValidationError as error:
        raise _unreadable("configuration", what, error) from error
    return config, "/".join(filter(None, (found.os, found.architecture, found.variant)))


def _tcp_ports(exposed: Mapping[str, object]) -> tuple[int, ...]:
    """Return the TCP ports out of ``{"8080/tcp": {}, "53/udp": {}, "80": {}}``, lowest first."""
    split = (each.partition("/") for each in exposed)
    return tuple(
        sorted({int(port) for port, _, kind in split if kind in {"", "tcp"} and _is_port(port)})
    )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535  # noqa: PLR2004 - the range of ports


def _runs(entry: Descriptor) -> bool:
    # Attestations hide in indexes as images for the platform unknown/unknown.
    return entry.platform is not None and entry.platform.os != "unknown"


def _unreadable(part: str, what: str, error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(each) for each in first["loc"])
    return InvalidInput(
        f"the {part} of {what} cannot be read: {place + ': ' if place else ''}{first['msg']}",
        pointer="/image",
    )
