"""Finding, checking and loading plugins.

The plugins that plugins.toml lists come first, in its order; the built-in ones that it does not
mention follow. Whatever is wrong with one stops the start with a single message that says where,
what is installed, and how to mend it: a plugin that silently does nothing costs its users hours.
"""

import difflib
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

import pluggy
from pydantic import BaseModel, ValidationError

from longshore.core import hookspecs
from longshore.core.errors import LongshoreError, StartRefused
from longshore.core.hook_checks import find_problem, hooks_of
from longshore.core.hooks import Hooks
from longshore.core.plugins_file import PluginEntry, PluginsFile, first_problem

GROUP = "longshore.plugins"
NO_VERSION = "-"

BUILT_IN = (
    *("sql_registry", "engine", "images", "nodes", "contracts", "hardware_plan"),
    *("fit", "architecture", "gpu_class", "numa", "image_locality", "spreading"),
    *("scaling", "balancing"),
)
"""Enabled unless plugins.toml says ``enabled = false``, in this order after those it lists."""

BACKENDS = ("engine", "kubernetes")
"""Of these built-in plugins, each a backend of its own name, only the one that ``[longshore]
backend`` chooses is enabled by itself; others are where plugins.toml lists them."""


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """An enabled plugin, for ``longshore plugins``."""

    name: str
    version: str
    origin: str
    """The distribution that it came with, or its file."""
    hooks: tuple[str, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Plugins:
    """All enabled plugins, in call order."""

    hooks: Hooks
    loaded: tuple[LoadedPlugin, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A plugin whose code was loaded, but not yet set up."""

    target: object
    version: str
    origin: str

    @property
    def label(self) -> str:
        return self.origin if self.version == NO_VERSION else f"{self.origin} {self.version}"


def build_plugins(
    file: PluginsFile,
    *,
    always: Sequence[str] = (),
    backend: str = "engine",
    installed: Iterable[EntryPoint] | None = None,
) -> Plugins:
    """Load all enabled plugins.

    Args:
        file: what plugins.toml says; an empty one means the built-in defaults.
        always: plugins that must be enabled whatever the file says, because a setting needs them.
        backend: the platform's default backend.
        installed: entry points to choose from; those of this Python environment if left out.

    Raises:
        StartRefused: something is wrong with one of them; see the message.
    """
    available = _by_name(entry_points(group=GROUP) if installed is None else installed)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    entries = _effective(file, always, backend)
    ready: list[tuple[PluginEntry, object, _Found]] = []
    for entry in entries:
        found = _find(file, entry, available)
        plugin = _set_up(file, entry, found)
        _refuse_problems(file, entry, found, plugin, [each[1] for each in ready])
        ready.append((entry, plugin, found))
    # pluggy calls the plugin that was registered last first.
    for entry, plugin, _ in reversed(ready):
        manager.register(plugin, name=entry.name)
    manager.check_pending()
    loaded = tuple(
        LoadedPlugin(
            name=entry.name,
            version=found.version,
            origin=found.origin,
            hooks=hooks_of(plugin),
            weight=entry.weight,
        )
        for entry, plugin, found in ready
    )
    weights = {entry.name: entry.weight for entry, _, _ in ready}
    return Plugins(Hooks(manager, weights), loaded)


def _by_name(points: Iterable[EntryPoint]) -> dict[str, list[EntryPoint]]:
    available: dict[str, list[EntryPoint]] = {}
    for point in points:
        same = available.setdefault(point.name, [])
        # An editable install can show the same entry point twice.
        if all((point.value, _origin(point)) != (other.value, _origin(other)) for other in same):
            same.append(point)
    return available


def _effective(file: PluginsFile, always: Sequence[str], backend: str) -> list[PluginEntry]:
    listed = {entry.name: entry for entry in file.entries}
    for name in always:
        if name in listed and not listed[name].enabled:
            raise StartRefused(
                f"{file.where_plugin(listed[name])}: plugin {name!r} is disabled, "
                "but a setting needs it",
                hint="Enable it, or take the setting away.",
            )
    by_itself = [name for name in BUILT_IN if name not in BACKENDS or name == backend]
    if backend in BACKENDS and backend not in by_itself:
        by_itself.insert(1, backend)
    missing = [name for name in (*always, *by_itself) if name not in listed]
    enabled = [entry for entry in file.entries if entry.enabled]
    return enabled + [PluginEntry(name=name) for name in missing]


def _find(
    file: PluginsFile, entry: PluginEntry, available: Mapping[str, Sequence[EntryPoint]]
) -> _Found:
    where = file.where_plugin(entry, "name")
    if entry.path is not None:
        path = (file.path.parent if file.path else Path()) / entry.path
        target = _import(where, entry, lambda: _load_file(entry.name, path), available)
        return _Found(target, NO_VERSION, str(path))
    points = available.get(entry.name, ())
    if not points:
        near = difflib.get_close_matches(entry.name, available, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise StartRefused(
            f"{where}: plugin {entry.name!r} is not installed.{guess} "
            f"Installed: {_listing(available)}",
            hint="Install the distribution that brings it (pip install ...), give its file "
            '(path = "my_plugin.py"), or take the table away.',
        )
    if len(points) > 1:
        origins = " and ".join(_origin(point) for point in points)
        raise StartRefused(
            f"{where}: plugin {entry.name!r} is installed twice, by {origins}",
            hint="Uninstall one of the two distributions.",
        )
    point = points[0]
    version = point.dist.version if point.dist else NO_VERSION
    return _Found(_import(where, entry, point.load, available), version, _origin(point))


def _import(
    where: str,
    entry: PluginEntry,
    load: Callable[[], object],
    available: Mapping[str, Sequence[EntryPoint]],
) -> object:
    try:
        return load()
    # A plugin that calls sys.exit() must not end the start without a word.
    except (Exception, SystemExit) as error:
        raise StartRefused(
            f"{where}: plugin {entry.name!r} cannot be imported: {_chain(error)}. "
            f"Installed: {_listing(available)}",
            hint="Mend it or install what it needs, or disable it: enabled = false",
        ) from error


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"longshore_local.{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pydantic look their module up by its name.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _set_up(file: PluginsFile, entry: PluginEntry, found: _Found) -> object:
    """Return what holds the hooks: the module, or an instance of its class ``Plugin``."""
    target = found.target
    if isinstance(target, ModuleType):
        target = getattr(target, "Plugin", target)
    model = getattr(target, "Settings", None) if inspect.isclass(target) else None
    if model is None and entry.settings:
        key = next(iter(entry.settings))
        raise StartRefused(
            f"{file.where_plugin(entry, 'settings', key)}: plugin {entry.name!r} "
            f"({found.label}) has no settings, so {key!r} means nothing",
            hint="Take it away.",
        )
    if not inspect.isclass(target):
        return target
    where = file.where_plugin(entry, "name")
    if model is not None and not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise StartRefused(
            f"{where}: plugin {entry.name!r} ({found.label}): its Settings is no pydantic model",
            hint="Derive it from pydantic.BaseModel, or name it otherwise.",
        )
    arguments = [] if model is None else [_settings(file, entry, found, model)]
    try:
        plugin: object = target(*arguments)
    except LongshoreError as error:
        raise StartRefused(
            f"{where}: plugin {entry.name!r} ({found.label}): {error.message}", hint=error.hint
        ) from error
    except Exception as error:
        raise StartRefused(
            f"{where}: plugin {entry.name!r} ({found.label}) cannot be set up: {_chain(error)}",
            hint="Mend it, or disable it: enabled = false",
        ) from error
    return plugin


def _settings(
    file: PluginsFile, entry: PluginEntry, found: _Found, model: type[BaseModel]
) -> BaseModel:
    # A misspelt setting is an error, unless the plugin says otherwise.
    extra: Literal["forbid"] | None = None if "extra" in model.model_config else "forbid"
    try:
        return model.model_validate(dict(entry.settings), extra=extra)
    except ValidationError as error:
        keys, problem = first_problem(error)
        known = ", ".join(sorted(model.model_fields)) or "none"
        # Without the cause, which shows what was written, passwords too.
        raise StartRefused(
            f"{file.where_plugin(entry, 'settings', *keys)}: plugin {entry.name!r} "
            f"({found.label}): setting {'.'.join(keys) or '(all)'}: {problem}",
            hint=f"Settings of {entry.name}: {known}.",
        ) from None


def _refuse_problems(
    file: PluginsFile, entry: PluginEntry, found: _Found, plugin: object, before: Sequence[object]
) -> None:
    where = f"{file.where_plugin(entry, 'name')}: plugin {entry.name!r} ({found.label})"
    if any(plugin is other for other in before):
        raise StartRefused(
            f"{where} is enabled already under another name", hint="Take one of the two away."
        )
    if problem := find_problem(plugin):
        raise StartRefused(f"{where}: {problem.message}", hint=problem.hint)


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _listing(available: Mapping[str, Sequence[EntryPoint]]) -> str:
    shown = (
        f"{name} ({_origin(points[0])} {points[0].dist.version if points[0].dist else '-'})"
        for name, points in sorted(available.items())
    )
    return ", ".join(shown) or "none"


def _chain(error: BaseException) -> str:
    """Return the error, where it was raised, and what it came from, in one line."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        message = " ".join(str(cause).split())
        parts.append(f"{type(cause).__name__}: {message}{_raised_at(cause)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ", from ".join(parts)


def _raised_at(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # The import system's own frames, and ours, tell nobody anything.
    told = [each for each in frames if not each.filename.startswith("<") and not _ours(each)]
    return f" ({told[-1].filename}, line {told[-1].lineno})" if told else ""


def _ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename in {__file__, importlib.metadata.__file__, importlib.__file__}
