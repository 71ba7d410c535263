"""The entry point of the ``longshore`` program."""

import click

from longshore.core.cli import build_cli, run

SERVER_COMMANDS = {
    "up": "longshore.server_commands:up",
    "plugins": "longshore.server_commands:plugins",
}


def main() -> None:
    """Run the command line."""
    run(build_cli(SERVER_COMMANDS, _add_plugin_commands))


def _add_plugin_commands(cli: click.Group) -> None:
    """Let the enabled plugins add their commands; what is wrong with them is said, not fatal."""
    import os

    from longshore import compose
    from longshore.core.errors import LongshoreError

    try:
        _, plugins = compose.load(None, os.environ, {})
        plugins.hooks.at_start("longshore_commands", cli=cli)
    except LongshoreError as error:
        click.echo(f"Warning: no commands of plugins: {error.message}", err=True)


if __name__ == "__main__":
    main()
