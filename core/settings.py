"""The platform's own settings: plugins.toml, then LONGSHORE_* variables, then options.

A later source wins field by field. Plugins have settings of their own; see ``core.plugins``.
"""

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, SecretStr, ValidationError

from longshore.core.errors import StartRefused
from longshore.core.plugins_file import PluginsFile, first_problem
from longshore.core.types import Value

ENV_PREFIX = "LONGSHORE_"

# Not settings of the platform, though they start with the prefix: the client's own variables.
CLIENT_VARIABLES = frozenset({"LONGSHORE_URL", "LONGSHORE_DEBUG", "LONGSHORE_BASE_IMAGE"})


class RegistryLogin(Value):
    """How to log in to one image registry."""

    username: str
    password: SecretStr


class Settings(Value):
    """The ``[longshore]`` table of plugins.toml."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a key or ``insecure``."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port to listen on; 0 takes a free one."""
    advertise: str | None = None
    """Host by which other processes of Longshore reach this one; found out if left out."""
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
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that carry predictions; 1 does everything in one."""
    grace: int = Field(default=30, ge=0)
    """Seconds that requests in flight get to finish when Longshore stops."""
    stop_delay: float = Field(default=0, ge=0)
    """Seconds that a router goes on as before when it is told to stop, but is not ready any more.

    Load balancers notice meanwhile, and turn to other routers.
    """
    max_head: int = Field(default=65536, ge=1024, le=65536)
    """Most bytes of a request line with its headers; beyond them callers get 431."""
    max_headers: int = Field(default=100, ge=8, le=1000)
    """Most headers of a request; beyond them callers get 431."""
    head_timeout: float = Field(default=30, gt=0)
    """Seconds in which a request's head must come whole; later callers get 408."""
    body_timeout: float = Field(default=60, gt=0)
    """Seconds that may pass between two pieces of a request's body; later callers get 408."""
    answer_timeout: float = Field(default=60, gt=0)
    """Seconds that a caller may take nothing of its answer; then its connection is cut off."""
    keep_alive: float = Field(default=75, gt=0)
    """Seconds that a caller's idle connection is kept.

    More than the 60 s that load balancers keep theirs to us, so that it is they who close.
    """
    max_connections: int = Field(default=10_000, ge=1)
    """Most connections of callers to one router process; beyond them callers get 503."""
    max_connections_per_client: int = Field(default=0, ge=0)
    """The same for each address of a caller; 0: no limit, for a load balancer is one address."""
    tunnel_idle: float = Field(default=300, ge=0)
    """Seconds in which an upgraded connection (a WebSocket) may be silent; 0: for ever."""
    tunnel_total: float = Field(default=86_400, ge=0)
    """Seconds that an upgraded connection may be open; 0: for ever."""
    retention: float = Field(default=30, ge=0)
    """Days without a call after which a version is collected; 0: never."""
    wake_collected: bool = False
    """Let a request to a collected version bring it back, as one to a sleeping version does."""
    delete_collected: bool = False
    """Delete a collected version's image from its registry, too, unless another version needs it;
    then only a new push brings it back. It holds for versions that are collected while it is on."""
    hold_requests: int = Field(default=2_000, ge=0)
    """Most requests that wait for one version while it is woken, in one router process; beyond
    them callers get 503 with a ``Retry-After``."""
    hold_requests_total: int = Field(default=10_000, ge=0)
    """The same for all versions together."""
    hold_bytes: int = Field(default=64 << 20, ge=0)
    """Most bytes that were read of the requests that wait for one version."""
    hold_bytes_total: int = Field(default=256 << 20, ge=0)
    """The same for all versions together."""
    hold_seconds: float = Field(default=60, gt=0)
    """Seconds that a request waits for a version that is woken; then its caller gets 503."""
    interval: float = Field(default=5, gt=0)
    """Seconds between controller passes when nothing happens; an idle version may go to sleep so
    much later than ``--idle`` says."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

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
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(
    file: PluginsFile, environment: Mapping[str, str], options: Mapping[str, object]
) -> Settings:
    """Join the three sources of settings; a later one wins field by field.

    Args:
        file: plugins.toml; its ``[longshore]`` table.
        environment: the process's variables; those that start with ``LONGSHORE_`` count. Tables
            are written as JSON, lists as JSON or separated by commas.
        options: those of the command line, by field; None where one was not given.

    Raises:
        StartRefused: naming the source that is wrong, by file and line, variable or option.
    """
    given = {name: value for name, value in options.items() if value is not None}
    variables = _from_environment(environment)
    try:
        return Settings.model_validate({**file.platform, **variables, **given})
    except ValidationError as error:
        keys, problem = first_problem(error)
        field = keys[0] if keys else ""
        if field in given:
            source = f"--{field.replace('_', '-')}"
        elif field in variables:
            source = ENV_PREFIX + field.upper()
        else:
            source = f"{file.where('longshore', *keys)}: {'.'.join(keys)}"
        known = ", ".join(sorted(Settings.model_fields))
        raise StartRefused(f"{source}: {problem}", hint=f"Settings: {known}.") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, text in environment.items():
        if not name.startswith(ENV_PREFIX) or name in CLIENT_VARIABLES or not text:
            continue
        field = name.removeprefix(ENV_PREFIX).lower()
        if field not in Settings.model_fields:
            known = ", ".join(sorted(ENV_PREFIX + each.upper() for each in Settings.model_fields))
            raise StartRefused(f"{name} is no setting of Longshore", hint=f"There are: {known}.")
        found[field] = _read(field, name, text)
    return found


def _read(field: str, name: str, text: str) -> JsonValue:
    if field == "insecure_registries" and not text.lstrip().startswith("["):
        return [each.strip() for each in text.split(",") if each.strip()]
    if field in {"insecure_registries", "registries"}:
        try:
            value: JsonValue = json.loads(text)
        except ValueError as error:
            raise StartRefused(f"{name} is no JSON: {error}", hint="Write it as JSON.") from error
        return value
    return text
