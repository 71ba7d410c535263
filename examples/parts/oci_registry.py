"""A real image registry on this machine, for examples and tests.

Uses Debian's ``docker-registry`` program, or where that is absent the image ``registry:2``.

    python examples/parts/oci_registry.py --port 5001 --root DIRECTORY
"""

import argparse
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.request import ProxyHandler, build_opener

from base_image import cache_directory
from engine_cli import PartMissing, find_engine_cli
from interrupts import end_on_signals, running

CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{root}"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}"""

READY_WITHIN = 20.0
"""Seconds that the registry may take to answer."""


class PortTaken(Exception):
    """Something listens on the port already."""


@contextlib.contextmanager
def oci_registry(root: Path, port: int = 0, login: tuple[str, str] | None = None) -> Iterator[str]:
    """Run a registry while the context is open.

    Args:
        root: where it keeps images; they are there again the next time.
        port: on 127.0.0.1; 0 takes a free one.
        login: user and password to ask for; none are asked for if left out.

    Yields:
        ``127.0.0.1:PORT``.

    Raises:
        PartMissing: there is no registry program, or no htpasswd for a login.
        PortTaken: something listens there already.
    """
    port = port or _free_port()
    _refuse_taken(port)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="longshore-registry-") as scratch:
        auth = ""
        if login:
            passwords = Path(scratch, "htpasswd")
            passwords.write_text(_htpasswd(*login))
            auth = f'auth: {{htpasswd: {{realm: longshore, path: "{passwords}"}}}}\n'
        configuration = Path(scratch, "config.yml")
        configuration.write_text(CONFIGURATION.format(root=root.absolute(), port=port, auth=auth))
        # It logs every blob that is not there yet as an error: read only when it fails to start.
        log = Path(scratch, "log")
        with log.open("w") as messages, _process(configuration, root, port, messages) as process:
            _wait(process, port, log)
            yield f"127.0.0.1:{port}"


def _process(
    configuration: Path, root: Path, port: int, messages: IO[str]
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program:
        command = [program, "serve", str(configuration)]
    else:
        engine = find_engine_cli(cache_directory())
        if engine.program != "docker":
            raise PartMissing("an image registry", "apt-get install docker-registry")
        command = ["docker", "run", "--rm", f"--publish=127.0.0.1:{port}:{port}"]
        command += [f"--volume={root.absolute()}:{root.absolute()}"]
        command += [f"--volume={configuration.parent}:{configuration.parent}:ro"]
        # Inside the container, loopback would not be reached from outside.
        inside = configuration.read_text().replace("127.0.0.1:", "0.0.0.0:")
        configuration.write_text(inside)
        command += ["docker.io/library/registry:2", "serve", str(configuration)]
    return running(
        command,
        stop_with=signal.SIGTERM,
        within=10,
        stdout=subprocess.DEVNULL,
        stderr=messages,
    )


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    # Loopback is never reached through a proxy, whatever http_proxy says.
    direct = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last_words = log.read_text()[-2000:]
            raise RuntimeError(f"the registry ended with status {process.returncode}: {last_words}")
        try:
            direct.open(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
        except urllib.error.HTTPError as error:
            if error.code == 401:  # noqa: PLR2004 - it answers, and asks for the login
                return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the registry did not answer on port {port} within {READY_WITHIN:g} s")


def _htpasswd(user: str, password: str) -> str:
    program = shutil.which("htpasswd")
    if not program:
        raise PartMissing("htpasswd", "apt-get install apache2-utils")
    command = [program, "-niB", user]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} cannot be had: {error.strerror}") from error


def main() -> None:
    """Run a registry until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run an image registry on this machine.")
    parser.add_argument("--port", type=int, default=5001, help="TCP port (default 5001)")
    parser.add_argument(
        "--root",
        type=Path,
        default=cache_directory() / "registry",
        help="directory for the images (default %(default)s)",
    )
    options = parser.parse_args()
    end_on_signals()
    try:
        with oci_registry(options.root, options.port):
            where = f"localhost:{options.port}"
            print(f"An image registry listens on {where}; Ctrl-C stops it.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("Stopped.")
    except PortTaken as error:
        sys.exit(f"Error: {error}.\nHint: another registry may be running; or choose --port.")
    except PartMissing as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
