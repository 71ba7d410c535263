"""Several processes of Longshore on one database, as an operator runs them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from parts.replica import Behaviour, Replica, echo
from parts.routed import until

from longshore.core.lease import CONTROLLER, Lease
from longshore.plugins.sql_registry.registry import SqlRegistry

PROGRAM = Path(sys.executable).with_name("longshore")
PLUGIN = Path(__file__).with_name("shared_backend.py")


@dataclass
class Process:
    """One of them."""

    command: Sequence[str]
    directory: Path
    environment: dict[str, str]
    popen: "subprocess.Popen[bytes] | None" = None
    url: str = ""

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def pid(self) -> int:
        assert self.popen
        return self.popen.pid

    async def start(self, within: float = 40) -> None:
        """Start it, and wait until it listens."""
        self._begin()
        assert await until(lambda: " listens on " in self.log or self.ended, within), self.log
        assert not self.ended, self.log
        self.url = self.log.partition(" listens on ")[2].split()[0]

    def _begin(self) -> None:
        self.directory.mkdir(exist_ok=True)
        with (self.directory / "log").open("w") as output:
            self.popen = subprocess.Popen(
                [PROGRAM, *self.command, "--port", "0", "--state", self.directory / "state"],
                stderr=output,
                cwd=self.directory,
                env=self.environment,
            )

    @property
    def ended(self) -> bool:
        return self.popen is None or self.popen.poll() is not None

    def send(self, number: signal.Signals) -> None:
        assert self.popen
        self.popen.send_signal(number)

    def kill(self) -> None:
        assert self.popen
        self.popen.kill()
        self.popen.wait()

    async def stop(self) -> int:
        """Stop it as Ctrl-C does; return its status."""
        self.send(signal.SIGINT)
        assert await until(lambda: self.ended, 60), self.log
        assert self.popen
        return self.popen.returncode


@dataclass
class Installation:
    """Processes that share a database and a backend."""

    directory: Path
    database: str
    registry: SqlRegistry
    replica: Replica
    http: httpx.AsyncClient
    processes: list[Process] = field(default_factory=list)

    def process(self, *command: str, database: str = "", config: Path | None = None) -> Process:
        """Return one that is not started yet."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")
        }
        environment = {
            **clean,
            "LONGSHORE_DATABASE": database or self.database,
            "LONGSHORE_INTERVAL": "1",
            "LONGSHORE_GRACE": "2",
        }
        plugins = ["--config", str(config or self.directory / "plugins.toml")]
        place = self.directory / f"{command[0]}-{len(self.processes)}"
        self.processes.append(Process([*command, *plugins], place, environment))
        return self.processes[-1]

    async def started(
        self, *command: str, database: str = "", config: Path | None = None
    ) -> Process:
        process = self.process(*command, database=database, config=config)
        await process.start()
        return process

    @property
    def calls(self) -> list[str]:
        """What was done to the backend: the process's id, what, and the version."""
        path = self.directory / "shared" / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def counted(self, what: str) -> int:
        """Return how often something was done, by anybody."""
        return sum(each.partition(" ")[2].startswith(what) for each in self.calls)

    async def lease(self) -> Lease:
        return await self.registry.lease(CONTROLLER)

    async def leader(self, *, other_than: Process | None = None, within: float = 15) -> Process:
        """Wait until a process leads, and return it."""
        async with asyncio.timeout(within):
            while True:
                lease = await self.lease()
                for each in self.processes:
                    here = each.url.removeprefix("http://")
                    leads = here and here == lease.address and not lease.free
                    if leads and each is not other_than:
                        return each
                await asyncio.sleep(0.05)

    async def ready(self, process: Process) -> Process:
        """Start a process, wait until it knows where requests go, and return it."""
        await process.start()
        async with asyncio.timeout(30):
            while True:
                answer = await self.http.get(f"{process.url}/readyz")
                if answer.status_code == 200:
                    return process
                await asyncio.sleep(0.05)

    async def predict(self, process: Process, name: str = "iris") -> int:
        """Return the status of a prediction."""
        answer = await self.http.post(f"{process.url}/v1/models/{name}/predict", content=b"[1]")
        return answer.status_code

    async def answered_by(
        self, process: Process, name: str, version: str, within: float = 60
    ) -> bool:
        """Return whether a version answers the model's requests in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    path = f"{process.url}/v1/models/{name}/predict"
                    answer = await self.http.post(path, content=b"[1]")
                    if answer.headers.get("x-longshore-version") == version:
                        return True
                    await asyncio.sleep(0.1)
        return False

    async def serves(self, process: Process, name: str = "iris", within: float = 30) -> bool:
        """Return whether a process answers predictions in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while await self.predict(process, name) != 200:  # noqa: ASYNC110 - it is asked
                    await asyncio.sleep(0.1)
                return True
        return False


@contextlib.asynccontextmanager
async def steady(
    world: Installation, *processes: Process, name: str = "iris"
) -> AsyncIterator["Counter[int]"]:
    """Ask all of them again and again while the context is open, and count the statuses."""
    statuses: Counter[int] = Counter()

    async def ask(process: Process) -> None:
        while True:
            statuses[await world.predict(process, name)] += 1
            await asyncio.sleep(0.05)

    asking = [asyncio.create_task(ask(each)) for each in processes]
    yield statuses
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


@contextlib.asynccontextmanager
async def installation(
    directory: Path, database: str, behave: Behaviour = echo
) -> AsyncIterator[Installation]:
    """Have a database and a backend, and processes of the test's, while the context is open."""
    shared = directory / "shared"
    shared.mkdir()
    async with (
        Replica(behave).running() as replica,
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        (directory / "plugins.toml").write_text(
            '[[plugin]]\nname = "engine"\nenabled = false\n\n'
            f'[[plugin]]\nname = "shared"\npath = "{PLUGIN}"\n'
            f'settings = {{ directory = "{shared}", port = {replica.endpoint.address.port} }}\n'
        )
        registry = SqlRegistry(database)
        await registry.open()
        found = Installation(directory, database, registry, replica, http)
        try:
            yield found
        finally:
            for each in found.processes:
                if not each.ended:
                    each.send(signal.SIGCONT)
                    each.kill()
            await registry.close()
