"""What every composition begins with: state directory, registry, backends and table."""

import asyncio
import fcntl
import gc
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from longshore.core.errors import StartRefused
from longshore.core.hooks import Hooks
from longshore.core.protocols import Backend, Registry
from longshore.core.registration import by_name
from longshore.core.routes import RouteTable
from longshore.core.settings import Settings
from longshore.core.types import Address
from longshore.router.holding import HoldLimits
from longshore.router.table import Table
from longshore.router.workers.broadcast import Broadcast
from longshore.router.workers.counts import Counts
from longshore.router.workers.crew import Crew, columns_for
from longshore.router.workers.process import Command

log = logging.getLogger(__name__)

_ELSEWHERE = ("192.0.2.1", 9)
"""An address that nobody has (RFC 5737); nothing is sent there."""


def registry_of(hooks: Hooks, settings: Settings) -> Registry:
    """Return Longshore's memory, not yet open.

    Raises:
        StartRefused: no plugin offers one.
    """
    answers = hooks.at_start("longshore_registry", settings=settings)
    if not answers:
        raise StartRefused(
            "no enabled plugin offers a registry, Longshore's memory",
            hint="Enable the built-in one, sql_registry, in plugins.toml.",
        )
    registry: Registry = answers[0].value
    return registry


def backends_of(hooks: Hooks, settings: Settings) -> Mapping[str, Backend]:
    """Return the backends by name, not yet open.

    Raises:
        StartRefused: the default one is not among them.
    """
    answers = by_name("backend", hooks.at_start("longshore_backend", settings=settings))
    backends: dict[str, Backend] = {name: answer.value for name, answer in answers.items()}
    if settings.backend not in backends:
        raise StartRefused(
            f"no enabled plugin offers the backend {settings.backend!r}",
            hint="Enable its plugin in plugins.toml, or set backend to one of these: "
            f"{', '.join(backends) or 'none is enabled'}.",
        )
    return backends


def table_of(
    stack: AsyncExitStack, hooks: Hooks, settings: Settings, command: Command
) -> tuple[Table, RouteTable, Crew | None]:
    """Return this process's table, what is to be told of changes, and the workers, if any.

    Args:
        stack: closes what has to be closed.
        hooks: the plugins.
        settings: the platform's.
        command: starts a worker.
    """
    table = Table(hooks, hold=HoldLimits.of(settings))
    if settings.workers == 1:
        return table, table, None
    counts, memory = Counts.create(columns_for(settings.workers))
    stack.callback(os.close, memory)
    broadcast = Broadcast(table, counts)
    return (
        table,
        broadcast,
        Crew(settings.workers, broadcast, memory, command, settings.grace),
    )


@dataclass(slots=True)
class Leaving:
    """How a router leaves those that stay: not ready, and still at work for a while.

    Whoever shares calls out learns late that a router stops (a load balancer by asking for
    ``/readyz``, a cluster's nodes when they were told), and sends it new connections until then.
    """

    delay: float
    """Seconds."""
    why: str = ""
    """Why no more calls should come here; empty while they may."""

    async def leave(self) -> None:
        """Return when others had their time to notice."""
        if self.delay:
            self.why = "this router stops"
            log.info("stopping in %g s, when load balancers have turned to others", self.delay)
            await asyncio.sleep(self.delay)


def advertised(settings: Settings, address: Address) -> str:
    """Return where other processes reach this one.

    Args:
        settings: the platform's.
        address: where it listens.
    """
    host = settings.advertise or address.host
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - it is compared, not listened on
        family = socket.AF_INET if host != "::" else socket.AF_INET6
        host = _own_address(family)
    return str(Address(host=host, port=address.port))


def _own_address(family: socket.AddressFamily) -> str:
    """Return the address by which this machine reaches others; loopback if it reaches none."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting such a socket sends nothing; it only chooses the way.
            probe.connect(_ELSEWHERE if family == socket.AF_INET else ("2001:db8::1", 9))
            host: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1" if family == socket.AF_INET else "::1"
        return host


def settle() -> None:
    """Let the garbage collector pass over all that was loaded by now, which is there to stay.

    Looking at it again would stall requests, for some 60 ms each time.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def exclusive(state: Path) -> Iterator[None]:
    """Hold the state directory: two platforms on one SQLite file would fight over containers."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartRefused(
            f"the state directory {state} cannot be used: {error.strerror}",
            hint="Name another one with --state.",
        ) from error
    try:
        try:
            # Let go by the kernel when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
            raise StartRefused(
                f"another Longshore (process {pid or 'unknown'}) runs with the state in {state}",
                hint="Use that one, stop it, or name another directory with --state.",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)
