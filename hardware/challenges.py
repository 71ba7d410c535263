"""What a registry asks for before it answers: the ``WWW-Authenticate`` header (RFC 9110)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*(?:,\s*|$)')
_SCHEME = re.compile(rf"({_WORD})(?:\s+|\s*,\s*|$)(?!=)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that a server offers."""

    scheme: str
    """In lowercase."""
    parameters: Mapping[str, str]
    """Names in lowercase."""


def read_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return all challenges in the header's lines; from what is malformed on, a line is ignored."""
    found = []
    for header in headers:
        position = 0
        while match := _SCHEME.match(header, position):
            position = match.end()
            parameters = {}
            while each := _PARAMETER.match(header, position):
                name, quoted, plain = each.groups()
                parameters[name.lower()] = (
                    plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                )
                position = each.end()
            found.append(Challenge(match[1].lower(), parameters))
    return found
