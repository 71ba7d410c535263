"""``longshore up`` as a program of its own, for the demo and the benchmarks."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from base_image import cache_directory
from engine_cli import find_engine_cli
from interrupts import running

LONGSHORE = Path(sys.executable).with_name("longshore")

STARTS_WITHIN = 60.0
"""Seconds that ``longshore up`` may take to answer."""

STOPS_WITHIN = 60.0
"""Seconds that it may take to stop its containers and itself."""

# Such a platform is its own: what the user has set for another (a database, a key) is not for
# it, and LONGSHORE_BASE_IMAGE is for the examples alone.
ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith("LONGSHORE_")}


class PlatformFailed(Exception):
    """It did not do what was asked of it; the message says what."""


@contextlib.contextmanager
def longshore_up(state: Path) -> Iterator[str]:
    """Run ``longshore up`` on a free port while the context is open; yield its URL."""
    say("Starting longshore up")
    log = state / "longshore.log"
    command: list[str | Path] = [LONGSHORE, "up", "--port", "0", "--state", state / "state"]
    try:
        with (
            log.open("w") as output,
            running(
                command,
                stop_with=signal.SIGINT,
                within=STOPS_WITHIN,
                environment=ENVIRONMENT,
                directory=state,
                stderr=output,
            ) as process,
        ):
            try:
                yield _url(process, log)
            finally:
                say("Cleaning up")
    finally:
        remove_containers(state / "state")


def remove_containers(state: Path) -> None:
    """Remove what a platform with this state directory would have left, had it not ended in order.

    Looks at nobody else's containers: the label holds the directory, which is this demo's alone.
    """
    engine = find_engine_cli(cache_directory())
    ours = f"label=io.longshore.state={state.absolute()}"
    for container in engine.run("ps", "--all", "--quiet", "--filter", ours).split():
        engine.run("rm", "--force", "--volumes", container)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that ``longshore up`` tells once it listens."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        text = log.read_text()
        _, found, rest = text.partition(" listens on ")
        if found and "\n" in rest:
            return rest.split()[0]
        if process.poll() is not None:
            raise PlatformFailed(f"longshore up ended with status {process.returncode}:\n{text}")
        time.sleep(0.05)
    raise PlatformFailed(
        f"longshore up did not listen within {STARTS_WITHIN:g} s:\n{log.read_text()}"
    )


def longshore(*arguments: str, url: str) -> None:
    """Run a command of Longshore's; its progress and errors go to the terminal."""
    command = [str(LONGSHORE), *arguments, "--url", url]
    # Ctrl-C is the demo's; it ends the command by itself.
    done = subprocess.run(command, env=ENVIRONMENT, check=False, start_new_session=True)
    if done.returncode:
        raise PlatformFailed(f"longshore {' '.join(arguments)} failed; see above")


def say(what: str) -> None:
    """Print a step."""
    print(what, flush=True)


def bold(text: str) -> str:
    """Return the text in bold on a terminal."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[1m{text}\033[0m"
