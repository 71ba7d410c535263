"""The entry point of the ``longshore`` program."""

import os
import sys
from io import TextIOWrapper

import click

from longshore.core.cli import build_cli

SERVER_COMMANDS = {
    "up": "longshore.server_commands:up",
    "controller": "longshore.server_commands:controller",
    "router": "longshore.server_commands:router",
    "node": "longshore.node_command:node",
    "plugins": "longshore.server_commands:plugins",
}


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What the terminal's encoding cannot write is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    build_cli(SERVER_COMMANDS, _add_plugin_commands)(prog_name="longshore")


def _add_plugin_commands(cli: click.Group) -> None:
    """Let the enabled plugins add their commands; what is wrong with them is said, not fatal."""
    from longshore.core.errors import LongshoreError
    from longshore.core.loading import load

    try:
        _, plugins = load(None, os.environ, {})
        plugins.hooks.at_start("longshore_commands", cli=cli)
    except LongshoreError as error:
        click.echo(f"Warning: no commands of plugins: {error.message}", err=True)


if __name__ == "__main__":
    main()
