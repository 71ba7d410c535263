"""The platform's own settings: plugins.toml, then LONGSHORE_* variables, then options.

A later source wins field by field. Plugins have settings of their own; see ``core.plugins``.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, JsonValue, SecretStr

from longshore.core.types import Port, Value

ENV_PREFIX = "LONGSHORE_"

# Not settings of the platform, though they start with the prefix: the client's own variables.
CLIENT_VARIABLES = frozenset({"LONGSHORE_URL"})


class RegistryLogin(Value):
    """How to log in to one image registry."""

    username: str
    password: SecretStr


class Settings(Value):
    """The ``[longshore]`` table of plugins.toml."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a key or ``insecure``."""
    port: Port = 8000
    state: Path = Path(".longshore")
    """Directory for the SQLite file, caches and sockets."""
    database: SecretStr | None = None
    """SQLAlchemy URL (it may hold a password); a SQLite file in ``state`` if left out."""
    backend: str = "engine"
    """Where versions run that do not choose."""
    api_key: SecretStr | None = None
    """Key that callers must send as ``Authorization: Bearer KEY``."""
    insecure: bool = False
    """Listen beyond loopback without authentication."""
    insecure_registries: tuple[str, ...] = ()
    """``host[:port]`` of image registries that speak plain HTTP; loopback always may."""
    registries: Mapping[str, RegistryLogin] = {}
    """Logins by ``host[:port]`` of the image registry."""
    max_body: int = Field(default=1 << 30, ge=1)
    """Largest request body in bytes; beyond it callers get 413."""
    interval: float = Field(default=5, gt=0)
    """Seconds between controller passes when nothing happens."""
    log_level: str = Field(default="warning", pattern="^(debug|info|warning|error)$")

    @property
    def database_url(self) -> str:
        """Where the registry keeps its data, as a SQLAlchemy URL."""
        if self.database:
            return self.database.get_secret_value()
        return f"sqlite:///{self.state.absolute() / 'longshore.sqlite'}"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the platform."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    host = host.strip("[]").lower()
    return host in {"localhost", "::1"} or host.startswith("127.")


def from_environment(environment: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return the settings that LONGSHORE_* variables give.

    Lists and tables are written as JSON; a list of words may be separated by commas.

    Raises:
        ValueError: a variable with the prefix that is no setting, or no JSON where needed.
    """
    found: dict[str, JsonValue] = {}
    for name, text in environment.items():
        if not name.startswith(ENV_PREFIX) or name in CLIENT_VARIABLES or not text:
            continue
        field = name.removeprefix(ENV_PREFIX).lower()
        if field not in Settings.model_fields:
            known = ", ".join(sorted(ENV_PREFIX + each.upper() for each in Settings.model_fields))
            raise ValueError(f"{name} is no setting of Longshore; there are: {known}")
        found[field] = _read(field, name, text)
    return found


def _read(field: str, name: str, text: str) -> JsonValue:
    if field == "insecure_registries" and not text.lstrip().startswith("["):
        return [each.strip() for each in text.split(",") if each.strip()]
    if field in {"insecure_registries", "registries"}:
        try:
            value: JsonValue = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{name} is no JSON: {error}") from error
        return value
    return text
