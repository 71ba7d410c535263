"""Reading plugins.toml, so that whatever is wrong in it can be pointed at by its line."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from longshore.core.errors import StartRefused

NAME_RULE = "1 to 64 letters, digits, '_', '.' and '-'"
PluginName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class PluginEntry(BaseModel):
    """One ``[[plugin]]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: PluginName
    path: str | None = None
    """A Python file, relative to plugins.toml, instead of an installed distribution."""
    enabled: bool = True
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """What the plugin's node scores are multiplied with."""
    settings: Mapping[str, Any] = {}
    """Checked later, by the plugin's own model."""


@dataclass(frozen=True, slots=True)
class PluginsFile:
    """A plugins.toml that was read; its plugins are neither found nor checked yet."""

    path: Path | None = None
    platform: Mapping[str, JsonValue] = field(default_factory=dict)
    entries: tuple[PluginEntry, ...] = ()
    text: str = ""

    def where(self, *keys: str | int) -> str:
        """Return ``FILE, line N`` of what these keys lead to, or of the nearest thing above it."""
        if self.path is None:
            return "built-in defaults"
        for length in range(len(keys), 0, -1):
            line = _line_of(self.text, keys[:length])
            if line:
                return f"{self.path}, line {line}"
        return str(self.path)

    def where_plugin(self, entry: PluginEntry, *keys: str) -> str:
        """Return where a plugin's table, or something in it, stands."""
        if entry not in self.entries:
            return "built-in defaults"
        return self.where("plugin", self.entries.index(entry), *keys)


def read_plugins_file(path: Path) -> PluginsFile:
    """Read a plugins.toml.

    Raises:
        StartRefused: it cannot be read, is no TOML, or has tables that mean nothing; the message
            names the file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartRefused(
            f"{path} cannot be read: {why}", hint="Name another file with --config."
        ) from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StartRefused(f"{path} is not TOML: {error}", hint="See https://toml.io.") from error
    draft = PluginsFile(path, text=text)
    for key in content:
        if key not in {"longshore", "plugin"}:
            raise StartRefused(
                f"{draft.where(key)}: {key!r} means nothing here",
                hint="plugins.toml holds one [longshore] table and a [[plugin]] table per plugin.",
            )
    platform = content.get("longshore", {})
    tables = content.get("plugin", [])
    if not isinstance(platform, dict):
        raise StartRefused(
            f"{draft.where('longshore')}: longshore is no table", hint="Write it as [longshore]."
        )
    if not isinstance(tables, list):
        raise StartRefused(
            f"{draft.where('plugin')}: plugin is one table, and there may be many",
            hint="Write it with two brackets: [[plugin]]",
        )
    entries = tuple(_entry(draft, index, table) for index, table in enumerate(tables))
    _refuse_twice(draft, entries)
    return PluginsFile(path, platform, entries, text)


def first_problem(error: ValidationError) -> tuple[list[str], str]:
    """Return the keys that lead to the first wrong setting, and what is wrong with it.

    A setting that does not exist comes before one that is missing: it is that one, misspelt. What
    was written is not repeated, since it may be a password.
    """
    first = _first(error)
    unknown = first["type"] == "extra_forbidden"
    keys = [str(key) for key in first["loc"]]
    return keys, "there is no such setting" if unknown else first["msg"]


def _first(error: ValidationError) -> ErrorDetails:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return next((each for each in found if each["type"] == "extra_forbidden"), found[0])


def _entry(draft: PluginsFile, index: int, table: object) -> PluginEntry:
    hint = "A [[plugin]] table has name, path, enabled, weight and settings."
    if not isinstance(table, dict):
        raise StartRefused(
            f"{draft.where('plugin', index)}: plugin number {index + 1} is no table", hint=hint
        )
    if "name" not in table and isinstance(table.get("path"), str):
        table = {"name": Path(table["path"]).stem, **table}
    try:
        return PluginEntry.model_validate(table)
    except ValidationError as error:
        first = _first(error)
        key = str(first["loc"][0])
        problem = f"{key}: {first['msg']}"
        if first["type"] == "extra_forbidden":
            problem = f"{key!r} means nothing here"
            hint += f" If {key!r} is one of the plugin's settings: settings = {{ {key} = ... }}"
        elif first["type"] == "string_pattern_mismatch":
            problem = f"a plugin's name is {NAME_RULE}"
        name = table.get("name")
        label = f"plugin {name!r}" if isinstance(name, str) else f"plugin number {index + 1}"
        raise StartRefused(
            f"{draft.where('plugin', index, key)}: {label}: {problem}", hint=hint
        ) from error


def _refuse_twice(draft: PluginsFile, entries: tuple[PluginEntry, ...]) -> None:
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.name in seen:
            first = draft.where("plugin", seen[entry.name]).rpartition("line ")[2]
            raise StartRefused(
                f"{draft.where('plugin', index)}: plugin {entry.name!r} is there twice, "
                f"first on line {first}",
                hint="Keep one of the two tables.",
            )
        seen[entry.name] = index


def _line_of(text: str, keys: tuple[str | int, ...]) -> int | None:
    """Return the line on which what these keys lead to begins.

    tomllib keeps no positions. The first line with which the text above it already holds the key
    is the line, whatever style the file is written in; a prefix that ends inside a value does not
    parse and is passed over, so a value over several lines counts by its last one.
    """
    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        try:
            value: Any = tomllib.loads("".join(lines[:number]))
            for key in keys:
                value = value[key]
        except (tomllib.TOMLDecodeError, KeyError, IndexError, TypeError):
            continue
        return number
    return None
