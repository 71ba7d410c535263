"""A temporary PostgreSQL server."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_cli import PartMissing


@contextmanager
def postgres_server() -> Iterator["Postgres"]:
    """Run a server of our own while the context is open; nothing of it is left afterwards.

    Raises:
        PartMissing: PostgreSQL is not installed.
    """
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="longshore-pg-") as scratch:
        if os.geteuid() == 0:
            # It refuses to run as root.
            owner = pwd.getpwnam("postgres")
            os.chown(scratch, owner.pw_uid, owner.pw_gid)
        server = Postgres(programs, Path(scratch), _free_port())
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Postgres:
    """A server, its data directory and its port on 127.0.0.1."""

    def __init__(self, programs: Path, directory: Path, port: int) -> None:
        self._programs = programs
        self._directory = directory
        self._data = directory / "data"
        self.port = port

    def initialise(self) -> None:
        options = ["--auth=trust", "--username=longshore", "--encoding=UTF8", "--no-locale"]
        self._run("initdb", "--pgdata", str(self._data), "--no-sync", *options)

    def start(self) -> None:
        # No Unix socket: its path may be too long, and nobody needs it.
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
        settings += "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        log = str(self._directory / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", settings)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))

    def new_database(self) -> str:
        """Make an empty database; return its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(4)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "longshore", name)
        return f"postgresql+psycopg://longshore@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command,
            cwd=self._directory,
            stdout=subprocess.DEVNULL,  # a pipe would be kept open by the server
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")


def _programs() -> Path:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    # Debian keeps them out of the path.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise PartMissing("PostgreSQL", "apt-get install postgresql")
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
