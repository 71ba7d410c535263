"""Settings and plugins, from plugins.toml, the environment and the command line."""

from collections.abc import Mapping
from pathlib import Path

from longshore.core.plugins import Plugins, build_plugins
from longshore.core.plugins_file import PluginsFile, read_plugins_file
from longshore.core.settings import Settings, read_settings

DEFAULT_CONFIG = Path("plugins.toml")


def load(
    config: Path | None, environment: Mapping[str, str], options: Mapping[str, object]
) -> tuple[Settings, Plugins]:
    """Read plugins.toml, variables and options, and load the plugins.

    Args:
        config: the file; ``plugins.toml`` in the current directory if None and it is there,
            otherwise the built-in defaults.
        environment: the process's variables.
        options: those of the command line, by the names of ``Settings``.

    Raises:
        StartRefused: something in them is wrong.
    """
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    file = read_plugins_file(config) if config else PluginsFile()
    settings = read_settings(file, environment, options)
    always = ["api_keys"] if settings.api_key else []
    return settings, build_plugins(file, always=always, backend=settings.backend)
