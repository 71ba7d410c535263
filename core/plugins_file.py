"""Reading plugins.toml, so that whatever is wrong in it can be pointed at by its line."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from longshore.core.errors import StartRefused

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
        raise StartRefused(
            f"{path} cannot be read: {error}", hint="Name another file with --config."
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
        raise StartRefused(f"{draft.where('longshore')}: write it as a table: [longshore]")
    if not isinstance(tables, list):
        raise StartRefused(f"{draft.where('plugin')}: write it with two brackets: [[plugin]]")
    entries = tuple(_entry(draft, index, table) for index, table in enumerate(tables))
    _refuse_twice(draft, entries)
    return PluginsFile(path, platform, entries, text)


def _entry(draft: PluginsFile, index: int, table: object) -> PluginEntry:
    if isinstance(table, dict) and "name" not in table and isinstance(table.get("path"), str):
        table = {"name": Path(table["path"]).stem, **table}
    try:
        return PluginEntry.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = table.get("name") if isinstance(table, dict) else None
        key = str(first["loc"][0]) if first["loc"] else ""
        hint = "A [[plugin]] table has name, path, enabled, weight and settings."
        if first["type"] == "extra_forbidden":
            hint += f" If {key!r} is one of the plugin's settings: settings = {{ {key} = ... }}"
        label = f"plugin {name!r}" if isinstance(name, str) else f"plugin number {index + 1}"
        raise StartRefused(
            f"{draft.where('plugin', index, key)}: {label}: {key}: {first['msg']}", hint=hint
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
