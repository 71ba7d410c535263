"""Image references, read by the rules of ``docker pull``."""

import ipaddress
import re
from typing import Self

from pydantic import TypeAdapter, ValidationError

from longshore.core.errors import InvalidInput
from longshore.core.types import Digest, Value

DOCKER_HUB = "docker.io"
RULE = (
    "write [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]; the path is lowercase letters, digits and "
    "single '.', '_', '__' or '-' between them"
)

# Docker Hub's own former name, and where its registry really listens.
_HUB_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io"})
_LONGEST_NAME = 255
_LAST_PORT = 65535

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(
    rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_WORD}(?:/{_WORD})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = TypeAdapter[str](Digest)


class Reference(Value):
    """What somebody wrote to name an image, complete."""

    host: str
    """Registry as ``host[:port]``."""
    path: str
    tag: str | None
    digest: Digest | None
    """Where there is one, the tag has no meaning any more."""

    @property
    def repository(self) -> str:
        """Registry and path: ``docker.io/library/python``."""
        return f"{self.host}/{self.path}"

    @property
    def target(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        separator = "@" if self.digest else ":"
        return f"{self.repository}{separator}{self.target}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Raises:
            InvalidInput: it is none; the message says which part breaks which rule.
        """
        name, at, digest = text.partition("@")
        name, tag = _split_tag(name)
        host, path = _split_host(name)
        if _IMAGE_ID.fullmatch(name):
            raise _refused(text, "it is an image's id, and registries know names only")
        if not _PATH.fullmatch(path):
            raise _refused(text, _path_problem(path))
        if not _is_host(host):
            raise _refused(text, f"{host!r} is no host[:port]")
        if len(host) + len(path) + 1 > _LONGEST_NAME:
            raise _refused(text, f"host and path are longer than {_LONGEST_NAME} characters")
        if tag is not None and not _TAG.fullmatch(tag):
            raise _refused(
                text,
                f"{tag!r} is no tag (1 to 128 letters, digits, '_', '.' and '-', "
                "not beginning with '.' or '-')",
            )
        if at and not _is_digest(digest):
            raise _refused(text, f"{digest!r} is no digest (sha256: and 64 lowercase hex digits)")
        return cls(host=host, path=path, tag=tag, digest=digest or None)


def _split_tag(name: str) -> tuple[str, str | None]:
    head, colon, tail = name.rpartition(":")
    # A slash after the last colon: that colon begins a port.
    return (head, tail) if colon and "/" not in tail else (name, None)


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (set(".:[") & set(first) or first == "localhost" or first != first.lower()):
        host, path = first, rest
    else:
        host, path = DOCKER_HUB, name
    if host in _HUB_ALIASES:
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return host, path


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if not match or (match["port"] and not 1 <= int(match["port"]) <= _LAST_PORT):
        return False
    name = match["name"]
    if not name.startswith("[") and not name.rpartition(".")[2].isdigit():
        return True
    # What ends in a number is an address, or resolvers disagree about what it is.
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _path_problem(path: str) -> str:
    shown = path.removeprefix("library/")
    if not shown:
        return "it names no repository"
    if _PATH.fullmatch(shown.lower()):
        return f"the path must be lowercase: {shown.lower()}"
    return f"{shown!r} is no path of a repository"


def _is_digest(text: str) -> bool:
    try:
        _DIGEST.validate_python(text)
    except ValidationError:
        return False
    return True


def _refused(text: str, problem: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:300]!r} is no image reference: {problem}", pointer="/image", hint=f"{RULE}."
    )
