"""The command line: what a user types, over the management API of a running platform.

Only what a command needs is imported when it runs, so that each answers quickly.
"""

from collections.abc import Callable, Mapping

import click

from longshore.core.cli.group import LazyGroup

_ROOM = "longshore.core.cli."

CLIENT_COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Put models to work": {
        "register": _ROOM + "register:register",
        "sleep": _ROOM + "changing:sleep",
        "wake": _ROOM + "changing:wake",
        "restore": _ROOM + "restore:restore",
        "traffic": _ROOM + "traffic:traffic",
        "delete": _ROOM + "changing:delete",
        "pin": _ROOM + "collecting:pin",
        "unpin": _ROOM + "collecting:unpin",
        "gc": _ROOM + "collecting:gc",
    },
    "Ask them": {"predict": _ROOM + "serving:predict"},
    "See what they do": {
        "models": _ROOM + "reading:models",
        "show": _ROOM + "reading:show",
        "logs": _ROOM + "serving:logs",
        "explain": _ROOM + "reading:explain",
        "events": _ROOM + "reading:events",
    },
    "Know the hardware": {"hardware": _ROOM + "hardware:hardware"},
}
"""Where each command is, as ``module:attribute``, under the headings of the help."""


def build_cli(
    server_commands: Mapping[str, str] | None = None,
    plugin_commands: Callable[[click.Group], None] | None = None,
) -> click.Group:
    """Return the command line.

    Args:
        server_commands: the commands that run the platform, as ``module:attribute``.
        plugin_commands: adds what plugins bring; called only for help, or where no other command
            fits, since loading all plugins takes its time.
    """
    server = {"Run the platform": server_commands} if server_commands else {}
    return LazyGroup({**server, **CLIENT_COMMANDS}, plugin_commands)
