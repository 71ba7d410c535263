"""What the commands share: how a version is named, and the options that several have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from longshore.core.cli.client import Client, connect
from longshore.core.errors import InvalidInput
from longshore.core.names import VersionKey, check_model_name, check_version_name

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """A model, or one version of it, as typed: ``NAME[:VERSION]``."""

    name: str
    version: str | None

    def key(self, client: Client, *, newest: bool = False) -> VersionKey:
        """Return the version that is meant.

        Args:
            client: asked which versions there are if none was typed.
            newest: take the newest of several instead of asking which.
        """
        if self.version:
            return VersionKey(self.name, self.version)
        versions = [record.version.key for record in client.model(self.name).versions]
        if len(versions) == 1 or (newest and versions):
            return versions[-1]
        listed = ", ".join(str(key) for key in versions)
        raise InvalidInput(
            f"{self.name} has {len(versions)} versions", hint=f"Name one of them: {listed}."
        )


class TargetType(click.ParamType[Target]):
    """Reads ``NAME[:VERSION]``."""

    name = "NAME[:VERSION]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Target:
        """Check both names by their rules."""
        if isinstance(value, Target):
            return value
        name, colon, version = str(value).partition(":")
        try:
            return Target(check_model_name(name), check_version_name(version) if colon else None)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Checked(click.ParamType[Any]):
    """Reads text that a function checks.

    Args:
        name: what help calls it.
        check: returns the value, or raises ``ValueError`` with the rule.
    """

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check a text."""
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def platform_option(command: F) -> F:
    """Add ``--url``, and hand the command a client for that platform."""

    def remember(context: click.Context, _: click.Parameter, url: str | None) -> None:
        context.obj = connect(url)

    option = click.option(
        "--url",
        expose_value=False,
        callback=remember,
        is_eager=False,
        help="Where Longshore listens.  [default: LONGSHORE_URL, or http://127.0.0.1:8000]",
    )
    return option(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
target_argument = click.argument("target", metavar="NAME[:VERSION]", type=TargetType())
