"""What a model, a version and a sticky header may be called, stated once and used everywhere alike.

The rules are narrow on purpose: a name that passes is safe in a URL path, a container label, a
DNS label, a file name and a shell word, so nothing further down needs to escape it.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator

MODEL_RULE = (
    "a model's name is a DNS label: 1 to 63 characters, lowercase letters, digits and '-', "
    "with a letter or digit first and last"
)
VERSION_RULE = (
    "a version is 1 to 32 characters out of letters, digits, '.', '_' and '-', "
    "and neither '.' nor '..'"
)
STICKY_RULE = (
    "requests stick by a header that tells callers apart: 1 to 64 characters out of letters, "
    "digits and !#$%&'*+-.^_`|~, and none that describes the connection or the message, such as "
    "Host, Connection, Transfer-Encoding or Content-Length"
)

_MODEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# '.' and '..' would be resolved away by every HTTP client that normalises paths.
_VERSION = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,32}")
# A token of RFC 9110 section 5.6.2, in lowercase; the length is ours.
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]{1,64}")
# What ends at each hop (RFC 9110 section 7.6.1), or says how a message is framed and where it goes:
# the server acts on them, so that they are gone before a version is chosen, or name no caller.
_OF_THE_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-longshore-shadow",
    }
)


def check_model_name(name: str) -> str:
    """Return the name as it is.

    Raises:
        ValueError: the name breaks the rule, which the message states.
    """
    if not _MODEL.fullmatch(name):
        raise ValueError(f"{_shown(name)} cannot name a model: {MODEL_RULE}")
    return name


def check_version_name(version: str) -> str:
    """Return the version as it is.

    Raises:
        ValueError: the version breaks the rule, which the message states.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(f"{_shown(version)} cannot name a version: {VERSION_RULE}")
    return version


def check_sticky_header(name: str) -> str:
    """Return the name of a header in lowercase, in which it is compared.

    Raises:
        ValueError: requests cannot stick by this header; the message states the rule.
    """
    lower = name.lower()
    wrong = not _HEADER.fullmatch(lower) or lower in _OF_THE_HOP or lower.startswith("proxy-")
    # Checked before it is lowered, for a few letters of other alphabets become one of ours.
    if wrong or not name.isascii():
        raise ValueError(f"{_shown(name)} cannot be sticky: {STICKY_RULE}")
    return lower


ModelName = Annotated[str, AfterValidator(check_model_name)]
VersionName = Annotated[str, AfterValidator(check_version_name)]
StickyHeader = Annotated[str, AfterValidator(check_sticky_header)]


@dataclass(frozen=True, slots=True, order=True)
class VersionKey:
    """Names one version of one model; written ``name:version``."""

    name: ModelName
    version: VersionName

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name:version``.

        Raises:
            ValueError: there is no colon, or one of the two halves breaks its rule.
        """
        name, colon, version = text.partition(":")
        if not colon:
            raise ValueError(f"{_shown(text)} names no version: write NAME:VERSION")
        return cls(check_model_name(name), check_version_name(version))


def _shown(text: str, limit: int = 80) -> str:
    """Quote what somebody typed so that a terminal shows it harmlessly and in one line."""
    return ascii(text if len(text) <= limit else text[:limit] + "…").replace("\\u2026", "...")
