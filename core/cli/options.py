"""What the commands share: how a version is named, and the options that several have."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from longshore.core.cli.client import Client
from longshore.core.errors import InvalidInput
from longshore.core.names import VersionKey, check_model_name, check_version_name

DEFAULT_URL = "http://127.0.0.1:8000"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """A model, or one version of it, as typed: ``NAME[:VERSION]``."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read it.

        Raises:
            ValueError: one of the two names breaks its rule.
        """
        name, colon, version = text.partition(":")
        return cls(check_model_name(name), check_version_name(version) if colon else None)

    def key(self, client: Client, *, newest: bool = False) -> VersionKey:
        """Return the version that is meant.

        Args:
            client: asked which versions there are if none was typed.
            newest: take the newest of several instead of asking which.

        Raises:
            InvalidInput: none was typed, and there are several.
        """
        if self.version is not None:
            return VersionKey(self.name, self.version)
        versions = [record.version.key for record in client.model(self.name).versions]
        if len(versions) == 1 or (newest and versions):
            return versions[-1]
        raise InvalidInput(
            f"{self.name} has {len(versions)} versions, and this is about one",
            hint=f"Name one of them: {', '.join(str(key) for key in versions)}",
        )


class Checked(click.ParamType[Any]):
    """Reads text with a function.

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
            return self._check(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    # An unprintable one would only fail deep down in the HTTP client.
    if wrong or not text.isprintable() or " " in text:
        raise ValueError(f"{text!a} is no URL: write http://HOST:PORT")
    return text.rstrip("/")


def platform_option(command: F) -> F:
    """Add ``--url``, and hand the command a client for that platform."""

    def connect(context: click.Context, _: click.Parameter, url: str) -> None:
        client = Client(url, os.environ.get("LONGSHORE_API_KEY"))
        context.obj = context.with_resource(client)

    option = click.option(
        "--url",
        type=Checked("URL", _url),
        envvar="LONGSHORE_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        expose_value=False,
        callback=connect,
        help="Where Longshore listens.",
    )
    return option(command)


pass_client = click.make_pass_decorator(Client)
model_argument = click.argument("name", type=Checked("NAME", check_model_name))
target_argument = click.argument(
    "target", metavar="NAME[:VERSION]", type=Checked("NAME[:VERSION]", Target.parse)
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, for programs."
)
