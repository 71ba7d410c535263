"""What a model and a version may be called, stated once and used everywhere alike.

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

_MODEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# '.' and '..' would be resolved away by every HTTP client that normalises paths.
_VERSION = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,32}")


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


ModelName = Annotated[str, AfterValidator(check_model_name)]
VersionName = Annotated[str, AfterValidator(check_version_name)]


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
