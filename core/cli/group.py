"""The ``longshore`` command itself: finds the others, and ends in errors that people can read."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click

from longshore.core.cli.failures import exit_status

_HELP = """Longshore: bring your own container, and have it served.

Start the platform with `longshore up`. Then, in another terminal:

\b
  longshore register iris 1 localhost:5001/iris:1
  longshore predict iris -d '[[5.1,3.5,1.4,0.2]]'
"""

_EPILOG = """LONGSHORE_URL names the platform to talk to, LONGSHORE_API_KEY the key to send. Exit
status: 0, 1 for a failure, 2 for wrong use, 130 after Ctrl-C. LONGSHORE_DEBUG=1 shows where an
error comes from, NO_COLOR=1 takes the colours away."""

_FROM_PLUGINS = "Added by plugins"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Args:
        sections: where each command is, as ``module:attribute``, under the headings of the help.
        others: adds the commands of plugins; called only when no other command fits, or for help.
    """

    def __init__(
        self,
        sections: Mapping[str, Mapping[str, str]],
        others: Callable[[click.Group], None] | None = None,
    ) -> None:
        super().__init__("longshore", help=_HELP, epilog=_EPILOG, invoke_without_command=True)
        click.version_option(package_name="longshore", message="%(prog)s %(version)s")(self)
        self._sections = sections
        self._lazy = {name: path for each in sections.values() for name, path in each.items()}
        self._others = others

    def main(  # type: ignore[override] # all that click declares beyond it goes through extra
        self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run the command line and, unless told otherwise, end the process with its status."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            extra.setdefault("color", False)
        run = partial(super().main, args, standalone_mode=False, **extra)
        return sys.exit(exit_status(run)) if standalone_mode else run()

    def invoke(self, ctx: click.Context) -> None:
        """Run the command that was typed, or show the help."""
        # What a command returns is not passed on: click would take a number for its status.
        super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a plugin's command.

        Raises:
            ValueError: there is a command of this name already.
        """
        if (name or cmd.name) in {*self._lazy, *self.commands}:
            raise ValueError(f"there is a command {name or cmd.name!r} already")
        super().add_command(cmd, name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if path := self._lazy.get(cmd_name):
            module, _, attribute = path.partition(":")
            found: click.Command = getattr(import_module(module), attribute)
            return found
        if cmd_name not in self.commands:
            self._load_others()
        return self.commands.get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, those of plugins last."""
        self._load_others()
        return [*self._lazy, *self.commands]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or tell which ones resemble it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not ctx.resilient_parsing and args[0] not in self.list_commands(ctx):
                raise click.exceptions.NoSuchCommand(
                    args[0], possibilities=self.list_commands(ctx), ctx=ctx
                ) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        names = self.list_commands(ctx)
        sections = {heading: list(commands) for heading, commands in self._sections.items()}
        sections[_FROM_PLUGINS] = [name for name in names if name not in self._lazy]
        # One column for all sections reads best.
        room = formatter.width - 6 - max(len(name) for name in names)
        for heading, commands in sections.items():
            rows = [(name, self._summary(ctx, name, room)) for name in commands]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(
                        [(name.ljust(max(map(len, names))), text) for name, text in rows]
                    )

    def _summary(self, ctx: click.Context, name: str, room: int) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(room) if command else ""

    def _load_others(self) -> None:
        others, self._others = self._others, None
        if others:
            others(self)
