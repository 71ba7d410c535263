"""The command line: what a user types, over the management API of a running platform.

Only what a command needs is imported when it runs, so that each answers quickly.
"""

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version

import click

from longshore.core.errors import InvalidInput, LongshoreError

ROOM = "longshore.core.cli."

CLIENT_COMMANDS = {
    "register": ROOM + "register:register",
    "models": ROOM + "reading:models",
    "show": ROOM + "reading:show",
    "predict": ROOM + "serving:predict",
    "logs": ROOM + "serving:logs",
    "delete": ROOM + "changing:delete",
    "sleep": ROOM + "changing:sleep",
    "wake": ROOM + "changing:wake",
    "traffic": ROOM + "changing:traffic",
    "explain": ROOM + "reading:explain",
    "events": ROOM + "reading:events",
}
"""Where each command is, as ``module:attribute``."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Args:
        lazy: where each command is, in the order of the help.
        others: adds the commands of plugins; called only when no other command fits, or for help,
            since loading all plugins takes its time.
    """

    def __init__(
        self,
        *,
        lazy: Mapping[str, str],
        others: Callable[[click.Group], None],
        help: str,  # noqa: A002 - click's own name
        epilog: str,
    ) -> None:
        super().__init__("longshore", help=help, epilog=epilog)
        self._lazy = lazy
        self._others = others
        self._complete = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, those of plugins last."""
        self._load_others()
        return [*self._lazy, *sorted(self.commands.keys() - self._lazy.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in self._lazy and cmd_name not in self.commands:
            module, _, attribute = self._lazy[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        elif cmd_name not in self.commands:
            self._load_others()
        return self.commands.get(cmd_name)

    def _load_others(self) -> None:
        if not self._complete:
            self._complete = True
            self._others(self)


def build_cli(
    server_commands: Mapping[str, str], plugin_commands: Callable[[click.Group], None]
) -> click.Group:
    """Return the command line.

    Args:
        server_commands: the commands that run the platform, as ``module:attribute``.
        plugin_commands: adds what plugins bring.
    """
    group = LazyGroup(
        lazy={**server_commands, **CLIENT_COMMANDS},
        others=plugin_commands,
        help="Longshore: bring your own container, and have it served.",
        epilog="Start with: longshore up. Then, in another terminal: "
        "longshore register NAME VERSION IMAGE",
    )
    shown = version("longshore")
    return click.version_option(shown, prog_name="longshore", message="%(prog)s %(version)s")(group)


def run(cli: click.Group) -> None:
    """Run the command line and end the process: 0, 1 for a failure, 2 for wrong use."""
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        status = 130
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except LongshoreError as error:
        if os.environ.get("LONGSHORE_DEBUG"):
            raise
        _show(error)
        status = 2 if isinstance(error, InvalidInput) else 1
    except BrokenPipeError:
        # Whoever read us has enough; Python's own last flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _show(error: LongshoreError) -> None:
    from longshore.core.cli.output import harmless

    message = harmless(error.message)
    label = click.style("Error:", fg="red", bold=True)
    click.echo(
        f"{label} {message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}",
        err=True,
    )
    nearest = getattr(error, "nearest", None)
    if nearest:
        click.echo(f"Nearest: {', '.join(harmless(each) for each in nearest)}", err=True)
    log_tail = getattr(error, "log_tail", None)
    if log_tail:
        click.echo("Its last lines:", err=True)
        for line in log_tail:
            click.echo(f"  {harmless(line)}", err=True)
    if error.hint:
        click.echo(f"{click.style('Hint:', bold=True)} {harmless(error.hint)}", err=True)
