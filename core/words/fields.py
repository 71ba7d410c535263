"""What a mapping holds, as people read it: each thing by its name, what is empty left out."""

from collections.abc import Mapping
from typing import Any

from longshore.core.types import Value
from longshore.core.words.text import harmless, one_line, plain

_EMPTY: tuple[Any, ...] = (None, "", [], {})


class Field(Value):
    """One thing, with its name; a text, or lines, or more things that belong to it."""

    name: str
    text: str = ""
    lines: tuple[str, ...] | None = None
    fields: "tuple[Field, ...] | None" = None


def told(content: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return what a mapping holds; all text is harmless, and each a line."""
    return tuple(
        _field(harmless(name.replace("_", " ")), each)
        for name, each in content.items()
        if each not in _EMPTY
    )


def _field(name: str, value: Any) -> Field:
    if isinstance(value, Mapping):
        return Field(name=name, fields=told(value))
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return Field(name=name, lines=tuple(one_line(line) for line in value))
    return Field(name=name, text=one_line(plain(value)))
